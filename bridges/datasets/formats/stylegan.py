"""StyleGAN's folder of images: ``dataset.json`` gives each a label, or none.

::

    dataset.json            {"labels": [["00000/img00000000.png", 3], …]}, or null
    00000/img00000000.png
"""

import pathlib
from typing import Any

from bridges.datasets.catalogues.stylegan import classes_of, parse_labels, read
from bridges.datasets.dataset_format import DESCRIPTION as LABELS_FILE
from bridges.datasets.formats.folder_markers import is_stylegan
from bridges.datasets.formats.label_table import read_label_table, read_records
from bridges.datasets.image_files import ImageFiles
from hyperface_jax import InputError

__all__ = ["LABELS_FILE", "StyleGanFolder", "labels_of"]


class StyleGanFolder(ImageFiles):
    """Images and labels of a folder of StyleGAN's making; an image source."""

    def __init__(self, path: Any, *, identity_from: str | None = None) -> None:
        """Reads the labels and lists the folder; reads no image.

        Args:
          path: the folder.
          identity_from: ignored, ``dataset.json`` says who is who.

        Raises:
          InputError: a damaged ``dataset.json``, or no images.
        """
        del identity_from
        folder = pathlib.Path(path)
        found = read(folder)
        if not found.records:
            raise InputError(f"{folder}: no images in it")
        super().__init__(folder, found.records, found.who)
        if found.who is not None:
            named = read_label_table(folder, list(found.who))
            self.identities = named or self.identities
        for record, known in zip(
            self.records, read_records(folder, self.records) or (), strict=False
        ):
            source_name = known.pop("file_name")
            record.update(known, source_name=source_name)
        self.left_out, self.unreadable = found.left_out, found.unreadable


def labels_of(value: Any, place: str) -> dict[str, int] | None:
    """The people of ``dataset.json`` by file name, in its order.

    Args:
      value: the content of the file.
      place: the file, for messages.

    Returns:
      None for a file of something else, and for one without labels or with vectors
      that are no classes.

    Raises:
      InputError: labels that are none, or names that lead elsewhere.
    """
    if not is_stylegan(value) or not value["labels"]:
        return None
    labels = parse_labels(value["labels"], place)
    classes = classes_of(labels)
    return None if classes is None else dict(zip(labels, classes, strict=True))
