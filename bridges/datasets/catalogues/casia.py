"""CASIA-WebFace: ``0000045/001.jpg``, people by seven digits, images from 1."""

import pathlib
import re

from bridges.datasets.catalogues.by_name import Entry, folders_of, read_names, stem_of
from bridges.datasets.folder_layouts import FolderContent

_PERSON, _IMAGE = re.compile(r"[0-9]{7}"), re.compile(r"[0-9]{3,9}")
_LAYOUT = "a folder of seven digits a person with numbered images, 0000045/001.jpg"


def read(folder: pathlib.Path) -> FolderContent:
    """Reads CASIA-WebFace; identities are the folders' names, zeros included.

    Raises:
      InputError: as :func:`bridges.datasets.catalogues.by_name.read_names`.
    """
    return read_names(folder, _parse, title="CASIA-WebFace", layout=_LAYOUT)


def _parse(name: str) -> Entry | str:
    person = folders_of(name)[-1]
    if _PERSON.fullmatch(person) and _IMAGE.fullmatch(stem_of(name)):
        return Entry(person)
    return "not in a folder of seven digits, or itself without a number"
