"""The image source: encoded images by position, whatever they are stored in."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class ImageSource(Protocol):
    """Images with what is known of each; a folder, later an archive or a shard.

    Instances are sent to worker processes, so they must pickle; one that holds a file
    open opens it again there.

    Attributes:
      name: the folder or file, for messages.
      labels: ``[n]`` int64 in ``0 … k-1``: image i shows ``identities[labels[i]]``.
      identities: ``k`` names or numbers.
      labelled: False where nothing says who is on an image; the labels mean nothing.
      records: ``n`` dicts: the metadata, at least ``file_name``.
    """

    name: str
    labels: np.ndarray
    identities: Sequence[Any]
    labelled: bool
    records: Sequence[dict[str, Any]]

    def __len__(self) -> int:
        """The number of images ``n``."""

    def read(self, index: int) -> bytes:
        """The encoded bytes of an image, in any format that Pillow decodes.

        Raises:
          UnreadableImage: they can't be read; names the image.
        """

    def fingerprint(self) -> str:
        """SHA-256 that changes with the names, the labels and the images' bytes."""
