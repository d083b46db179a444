"""Image files below one folder, by their names."""

import hashlib
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from bridges.datasets.images import read_file
from hyperface_jax import files

PathLike = str | os.PathLike[str]


class ImageFiles:
    """Named files of a folder; an image source.

    Attributes:
      folder: the folder.
      paths: ``n`` files.
      labels: ``[n]`` int64 in ``0 … k-1``.
      identities: ``k`` names or numbers; image i shows ``identities[labels[i]]``.
      records: ``n`` dicts: the metadata, at least ``file_name``.
      labelled: False where nothing says who is on the images; each then counts as an
        identity of its own.
    """

    def __init__(
        self,
        folder: PathLike,
        records: Sequence[dict[str, Any]],
        who: Sequence[int | str] | None = None,
    ) -> None:
        """Notes the files; reads none.

        Args:
          folder: the folder.
          records: a dictionary an image, with at least ``file_name``, its path below
            the folder.
          who: the identity of each image; None where nothing says it.
        """
        self.folder = pathlib.Path(folder)
        self.records = list(records)
        self.paths = [self.folder / record["file_name"] for record in records]
        self.labelled = who is not None
        if who is None:
            who = [record["file_name"] for record in records]
        self.identities, self.labels = number_identities(who)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def name(self) -> str:
        """The folder, for messages."""
        return os.fspath(self.folder)

    def read(self, index: int) -> bytes:
        """The content of an image's file.

        Raises:
          UnreadableImage: see :func:`bridges.datasets.images.read_file`.
        """
        return read_file(self.paths[index])

    def fingerprint(self) -> str:
        """SHA-256 over names, labels and the files' bytes.

        A file that can't be read enters as unreadable, without being refused.
        """
        digest = hashlib.sha256()
        for path, record, label in zip(
            self.paths, self.records, self.labels, strict=True
        ):
            try:
                # A device or a pipe may have no end.
                content = "" if files.is_stream(path) else files.sha256_of(path)
            except (OSError, ValueError):  # ValueError: a name with a null byte
                content = "unreadable"
            line = f"{record['file_name']} {label} {content}\n"
            digest.update(line.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def number_identities(who: Sequence[int | str]) -> tuple[list[int | str], np.ndarray]:
    """Numbers people from 0.

    Args:
      who: the identity of each image.

    Returns:
      The ``k`` identities, numbers before names, each kind ascending; and ``[n]``
      int64, the position of each image's identity among them.
    """
    identities = sorted(set(who), key=lambda one: (isinstance(one, str), one))
    position = {identity: i for i, identity in enumerate(identities)}
    return identities, np.array([position[identity] for identity in who], np.int64)
