"""StyleGAN2-ADA's folders: ``dataset.json`` says the label of each image.

::

    dataset.json           {"labels": [["00000/img00000000.png", 3], …]}
    00000/img00000000.png  …
"""

import json
import os
import pathlib
import posixpath
from collections.abc import Sequence
from typing import Any

from bridges.datasets.folder_listing import list_images
from bridges.datasets.formats.stored_images import named
from bridges.datasets.image_files import ImageFiles
from hyperface_jax import InputError, files

LABELS_FILE = "dataset.json"


class StyleganFolder(ImageFiles):
    """The images of such a folder."""

    def __init__(
        self, path: str | os.PathLike[str], *, identity_from: str = ""
    ) -> None:
        """Lists the folder and reads the labels.

        Args:
          path: the folder.
          identity_from: ignored: labels say who is on an image.

        Raises:
          InputError: no such folder, or labels of other images.
        """
        del identity_from
        folder = pathlib.Path(files.path_of(path))
        place = folder / LABELS_FILE
        try:
            content = place.read_bytes()
        except FileNotFoundError:
            raise InputError(f"{place}: not there") from None
        listing = list_images(folder)
        if not listing.images:
            raise InputError(f"{folder}: no images in it")
        who, more = people_of(content, listing.images, str(place))
        records = [
            {**each, "file_name": name}
            for name, each in zip(listing.images, more, strict=True)
        ]
        super().__init__(folder, records, who and named(who, folder))
        self.left_out, self.unreadable = listing.left_out, listing.unreadable


class StyleganWriter:
    """Writes such a folder, and goes on behind the last whole image.

    Attributes:
      done: how many images are there already.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        """Starts.

        Args:
          folder: it exists.
        """
        self._folder, self._suffixes = folder, {}
        self.done = 0

    def write(self, content: bytes, label: int, record: dict[str, Any]) -> None:
        """Adds an image.

        Args:
          content: encoded.
          label: the number of the person.
          record: gives the suffix.
        """
        del label
        name = self._name(len(self._suffixes), record)
        self._suffixes[len(self._suffixes)] = name
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    def finish(self, labels: list[int], names: list[str]) -> None:
        """Writes the labels.

        Args:
          labels: of all images.
          names: unused.
        """
        del names
        pairs = [[self._suffixes[i], label] for i, label in enumerate(labels)]
        text = json.dumps({"labels": pairs}) + "\n"
        files.write_text(self._folder / LABELS_FILE, text)

    def close(self) -> None:
        """Nothing is open."""

    def _name(self, number: int, record: dict[str, Any]) -> str:
        suffix = posixpath.splitext(record["file_name"])[1].lower() or ".jpg"
        return f"{number // 1000:05d}/img{number:08d}{suffix}"


def people_of(
    content: bytes, names: Sequence[str], place: str
) -> tuple[list[int] | None, list[dict[str, Any]]]:
    """Who is on images, by ``dataset.json``.

    Args:
      content: of the file.
      names: of the images, below its folder.
      place: for messages.

    Returns:
      The number of each image's person, None where labels are missing or no single
      numbers; and of each image a record, with ``label`` where it is several numbers.

    Raises:
      InputError: not such a file, or labels of other images.
    """
    try:
        pairs = json.loads(content)["labels"]
        labels = None if pairs is None else {str(name): label for name, label in pairs}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError(
            f'{place}: not {{"labels": [[name, label], …]}} as StyleGAN2-ADA writes it'
        ) from None
    if labels is None:
        return None, [{} for _ in names]
    found = [labels.get(name) for name in names]
    if None in found:
        missing = names[found.index(None)]
        raise InputError(
            f"{place}: no label for {missing} and {found.count(None) - 1} others; is "
            "it of another folder?"
        )
    if all(type(label) is int for label in found):
        return found, [{} for _ in names]
    return None, [{"label": label} for label in found]
