"""UTKFace: ``<age>_<gender>_<race>_<date>.jpg``, aligned ones ``….jpg.chip.jpg``.

Nothing says who is on an image. A few well-known names lack the race or the gender
(``61_1_20170109150557335.jpg.chip.jpg``); such images are left out, since an attribute
groups images only where every one has it. Slips after the date do no harm.
"""

import pathlib
import posixpath
import re

from bridges.datasets.catalogues import attributes
from bridges.datasets.catalogues.by_name import Entry, read_names
from bridges.datasets.folder_layouts import FolderContent

_IMAGE = re.compile(
    r"(?P<age>[0-9]{1,3})_(?P<gender>[01])_(?P<race>[0-4])_[0-9]{8,}(?![0-9_]).*",
    re.DOTALL,
)
_LACKING = re.compile(r"[0-9]{1,3}_[0-9]?_?[0-9]?_?[0-9]{8,}(?![0-9_]).*", re.DOTALL)
_GENDERS = {"0": "male", "1": "female"}
# White, Black, Asian, Indian and Others, as UTKFace numbers them.
_ETHNICITIES = {
    "0": attributes.CAUCASIAN,
    "1": attributes.AFRICAN,
    "2": attributes.ASIAN,
    "3": attributes.INDIAN,
    "4": attributes.OTHER,
}
_LAYOUT = "images named by age, gender, race and date, 26_0_1_20170116184028385.jpg"


def read(folder: pathlib.Path) -> FolderContent:
    """Reads UTKFace: ``age`` in years, ``age_group``, ``gender`` and ``ethnicity``.

    Raises:
      InputError: as :func:`bridges.datasets.catalogues.by_name.read_names`.
    """
    return read_names(folder, parse, title="UTKFace", layout=_LAYOUT)


def parse(name: str) -> Entry | str:
    """What the name of an image says, or why it says nothing."""
    base = posixpath.basename(name)
    match = _IMAGE.fullmatch(base)
    if not match and _LACKING.fullmatch(base):
        return "its name lacks the gender or the race, or has a number beyond theirs"
    if not match or not attributes.is_age(int(match["age"])):
        return "not named by age, gender, race and date"
    age = int(match["age"])
    return Entry(
        None,
        {
            "age": age,
            "age_group": attributes.age_group(age),
            "gender": _GENDERS[match["gender"]],
            "ethnicity": _ETHNICITIES[match["race"]],
        },
    )
