"""LFW, Labeled Faces in the Wild: ``Ann_Lee/Ann_Lee_0001.jpg``.

A ``pairs.txt`` beside makes its folder a verification set; see
:mod:`bridges.datasets.pair_lists`.
"""

import pathlib
import re

from bridges.datasets.catalogues.by_name import Entry, folders_of, read_names, stem_of
from bridges.datasets.folder_layouts import FolderContent

_IMAGE = re.compile(r"(?P<person>.+)_[0-9]{4}", re.DOTALL)
_LAYOUT = "a folder a person with images named after it, Ann_Lee/Ann_Lee_0001.jpg"


def read(folder: pathlib.Path) -> FolderContent:
    """Reads LFW, funneled or not.

    Raises:
      InputError: as :func:`bridges.datasets.catalogues.by_name.read_names`.
    """
    return read_names(folder, _parse, title="LFW", layout=_LAYOUT)


def person_of(stem: str) -> str | None:
    """The person after whom LFW or RFW name an image, or None."""
    match = _IMAGE.fullmatch(stem)
    return match and match["person"]


def _parse(name: str) -> Entry | str:
    person = folders_of(name)[-1]
    if person and person_of(stem_of(name)) == person:
        return Entry(person)
    return "not named after the person's folder and a number"
