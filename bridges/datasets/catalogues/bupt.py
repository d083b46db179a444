"""BUPT-Balancedface and BUPT-CBFace: a folder a person, by its Freebase id.

::

    African/m.0100cm/…jpg           Balancedface: below the folder of an ethnicity
    m.0100cm/…jpg                   CBFace
"""

import pathlib
import re

from bridges.datasets.catalogues.attributes import ETHNICITY_FOLDERS
from bridges.datasets.catalogues.by_name import Entry, folders_of, read_names
from bridges.datasets.folder_layouts import FolderContent

# MS-Celeb-1M, which the images are from, took people from Freebase.
FREEBASE_ID = re.compile(r"[mg]\.[0-9a-z_]+")
_LAYOUT = "a folder a person by its Freebase id, African/m.0100cm/1.jpg or m.0100cm/"


def read(folder: pathlib.Path) -> FolderContent:
    """Reads either; ``ethnicity`` is the folder's, where all images lie in one.

    Raises:
      InputError: as :func:`bridges.datasets.catalogues.by_name.read_names`.
    """
    return read_names(folder, _parse, title="BUPT", layout=_LAYOUT)


def ethnicity_of(folders: list[str]) -> str | None:
    """The ethnicity that one of the folders is named after, the innermost first."""
    words = (folder.lower() for folder in reversed(folders))
    return next((word for word in words if word in ETHNICITY_FOLDERS), None)


def _parse(name: str) -> Entry | str:
    *above, person = folders_of(name)
    if not FREEBASE_ID.fullmatch(person):
        return "not in a folder named by a Freebase id"
    ethnicity = ethnicity_of(above)
    return Entry(person, {} if ethnicity is None else {"ethnicity": ethnicity})
