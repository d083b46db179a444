"""AgeDB: ``0_MariaCallas_35_f.jpg``, the image's number, person, age and gender."""

import pathlib
import re

from bridges.datasets.catalogues.attributes import age_group, is_age
from bridges.datasets.catalogues.by_name import Entry, read_names, stem_of
from bridges.datasets.folder_layouts import FolderContent

_IMAGE = re.compile(
    r"[0-9]+_(?P<person>.+)_(?P<age>[0-9]{1,3})_(?P<gender>[fm])", re.DOTALL
)
_GENDERS = {"f": "female", "m": "male"}
_LAYOUT = "images named by number, person, age and gender, 0_MariaCallas_35_f.jpg"


def read(folder: pathlib.Path) -> FolderContent:
    """Reads AgeDB, with ``age`` in years, ``age_group`` and ``gender``.

    Raises:
      InputError: as :func:`bridges.datasets.catalogues.by_name.read_names`.
    """
    return read_names(
        folder, parse, title="AgeDB", layout=_LAYOUT, person_folders=False
    )


def parse(name: str) -> Entry | str:
    """What the name of an image says, or why it says nothing."""
    match = _IMAGE.fullmatch(stem_of(name))
    if not match or not is_age(int(match["age"])):
        return "not named by number, person, age and gender"
    age = int(match["age"])
    attributes = {"age": age, "age_group": age_group(age)}
    return Entry(match["person"], {**attributes, "gender": _GENDERS[match["gender"]]})
