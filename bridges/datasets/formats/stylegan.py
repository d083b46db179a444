"""StyleGAN's folder of images: ``dataset.json`` gives each a label, or none.

::

    dataset.json            {"labels": [["00000/img00000000.png", 3], …]}, or null
    00000/img00000000.png
"""

import pathlib
from typing import Any

from bridges.datasets.dataset_format import DESCRIPTION as LABELS_FILE
from bridges.datasets.folder_listing import list_images
from bridges.datasets.formats.folder_markers import is_stylegan
from bridges.datasets.formats.label_table import read_label_table, read_records
from bridges.datasets.image_files import ImageFiles
from hyperface_jax import InputError
from hyperface_jax.artifacts import read_json

__all__ = ["LABELS_FILE", "StyleGanFolder", "parse_labels"]


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
        place = folder / LABELS_FILE
        labels = parse_labels(read_json(place), str(place))
        listing = list_images(folder)
        names = listing.images if not labels else list(labels)
        if not names:
            raise InputError(f"{folder}: no images in it")
        records = [{"file_name": name} for name in names]
        super().__init__(folder, records, list(labels.values()) if labels else None)
        if labels:
            listed = set(names)
            unnamed = [name for name in listing.images if name not in listed]
            listing.left_out.update(
                {f"not in {LABELS_FILE}": unnamed} if unnamed else {}
            )
            who = list(labels.values())
            self.identities = read_label_table(folder, who) or self.identities
        for record, known in zip(
            self.records, read_records(folder, self.records) or (), strict=False
        ):
            source_name = known.pop("file_name")
            record.update(known, source_name=source_name)
        self.left_out, self.unreadable = listing.left_out, listing.unreadable


def parse_labels(value: Any, place: str) -> dict[str, int] | None:
    """The labels of ``dataset.json`` by file name, in its order.

    Args:
      value: the content of the file.
      place: the file, for messages.

    Returns:
      None for a file of something else, and for one without labels.

    Raises:
      InputError: labels that are no whole numbers, or names that lead elsewhere.
    """
    if not is_stylegan(value) or not value["labels"]:
        return None
    labels: dict[str, int] = {}
    for number, pair in enumerate(value["labels"]):
        right = isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)
        # Conditions may also be vectors; those are no identities.
        if not right or type(pair[1]) is not int:
            raise InputError(
                f"{place}: entry {number} of labels is not a name and a whole number"
            )
        name = pair[0].replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/") or "\0" in name:
            raise InputError(f"{place}: {name!r} lies outside of the folder")
        if name in labels:
            raise InputError(f"{place}: names {name} twice; remove one of them")
        labels[name] = pair[1]
    return labels
