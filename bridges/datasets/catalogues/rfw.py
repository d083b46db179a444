"""RFW, Racial Faces in the Wild: ``data/<Ethnicity>/m.0c7mh2/m.0c7mh2_0001.jpg``.

The pairs beside, ``txts/<Ethnicity>/<Ethnicity>_pairs.txt``, make its folder a
verification set; see :mod:`bridges.datasets.pair_lists`.
"""

import pathlib

from bridges.datasets.catalogues.bupt import FREEBASE_ID, ethnicity_of
from bridges.datasets.catalogues.by_name import Entry, folders_of, read_names, stem_of
from bridges.datasets.catalogues.lfw import person_of
from bridges.datasets.folder_layouts import FolderContent

_LAYOUT = (
    "a folder a person below that of an ethnicity, African/m.0c7mh2/m.0c7mh2_0001.jpg"
)


def read(folder: pathlib.Path) -> FolderContent:
    """Reads RFW, with ``ethnicity``.

    Raises:
      InputError: as :func:`bridges.datasets.catalogues.by_name.read_names`.
    """
    return read_names(folder, _parse, title="RFW", layout=_LAYOUT)


def _parse(name: str) -> Entry | str:
    *above, person = folders_of(name)
    ethnicity = ethnicity_of(above)
    if ethnicity is None:
        return "not below the folder of an ethnicity"
    if FREEBASE_ID.fullmatch(person) and person_of(stem_of(name)) == person:
        return Entry(person, {"ethnicity": ethnicity})
    return "not named after the person's folder and a number"
