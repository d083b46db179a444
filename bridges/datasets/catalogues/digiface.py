"""DigiFace-1M: ``<subject>/<k>.png``, rendered people by number, images from 0."""

import pathlib

from bridges.datasets.catalogues.by_name import Entry, folders_of, read_names, stem_of
from bridges.datasets.folder_layouts import FolderContent

_LAYOUT = "a numbered folder a person with numbered images, 17/0.png"


def read(folder: pathlib.Path) -> FolderContent:
    """Reads the unpacked archives of 72 or of 5 images a person, or all together.

    Their subjects have numbers of their own, so the folders of the archives, where
    there are any, say nothing.

    Raises:
      InputError: as :func:`bridges.datasets.catalogues.by_name.read_names`.
    """
    return read_names(folder, _parse, title="DigiFace-1M", layout=_LAYOUT)


def _parse(name: str) -> Entry | str:
    person = folders_of(name)[-1]
    if _is_number(person) and _is_number(stem_of(name)):
        return Entry(int(person))
    return "not in a numbered folder, or itself without a number"


def _is_number(text: str) -> bool:
    # Of more digits there is no subject; Python refuses to read thousands of them.
    return text.isascii() and text.isdigit() and len(text) <= 9
