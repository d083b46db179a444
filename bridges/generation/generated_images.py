"""The images of a draft as an image source: to embed them, or to write another format.

No list is as long as the dataset but the labels: records are read as they are asked
for, a block at a time.
"""

import collections.abc
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from bridges.generation.draft import Draft

# Blocks whose records are kept: threads ask for rows that are near one another.
_KEPT = 4


class GeneratedImages:
    """An :class:`bridges.datasets.image_source.ImageSource`.

    Attributes:
      name: for messages.
      labels: ``[n]`` int64, the identity of each image.
      identities: their numbers.
      records: of each image; read from the journals.
    """

    labelled = True

    def __init__(
        self, draft: Draft, name: str, rows: Sequence[int] | None = None
    ) -> None:
        """Describes the source; reads nothing.

        Args:
          draft: all its images are there.
          name: for messages.
          rows: the images that count; by default all.
        """
        self._draft, self.name = draft, name
        self._rows = range(len(draft.plan)) if rows is None else rows
        self.identities = range(draft.plan.identities)
        self.labels = np.asarray(self._rows) // draft.plan.images_per_identity
        self.records = _Records(draft, self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int) -> bytes:
        """The file of an image."""
        return self._draft.path(self._rows[index]).read_bytes()

    def fingerprint(self) -> str:
        """SHA-256 of the digests of all images of the draft."""
        digest = hashlib.sha256()
        for _, entry in self._draft.all_entries():
            digest.update(entry.sha256.encode())
        return digest.hexdigest()


class _Records(collections.abc.Sequence):
    """The records of a draft by row."""

    def __init__(self, draft: Draft, rows: Sequence[int]) -> None:
        self._rows, self._size = rows, draft.plan.block_size
        self._entries = functools.lru_cache(_KEPT)(draft.entries)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self._rows[index]
        return self._entries(row // self._size)[row].record
