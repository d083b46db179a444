"""Batches of decoded images by position: kept in memory, or decoded when needed."""

import concurrent.futures
import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bridges.datasets.image_source import ImageSource
from bridges.datasets.images import (
    UnreadableImage,
    decode_bytes,
    name_of,
    quiet_decoders,
)
from bridges.recognition.config import CACHE_MB
from bridges.worker_processes import default_num_processes, map_in_processes
from hyperface_jax import InputError, checks
from hyperface_jax.commands import progress as progress_bar

_MIB = 2**20
# A core decodes about a thousand faces a second, so that more processes would only take
# memory for what each knows of the sources.
_MOST_PROCESSES = 8
_DECODED_AT_ONCE = 256


class ImageBatch(NamedTuple):
    """Decoded images of a step.

    Attributes:
      pixels: ``[b, size, size, 3]`` uint8 RGB.
      rows: ``[b]`` their positions: those asked for, but for images that can't be read.
      skipped: those, by path, and why.
    """

    pixels: np.ndarray
    rows: np.ndarray
    skipped: dict[str, str]


class ImageBatches:
    """Images of one or several sources, resampled to one size, by position.

    Where all of them fit into ``cache_mb`` they are decoded once, here, and kept.
    Otherwise nothing is kept: worker processes decode the batches, a few ahead. Both
    ways give the same pixels.

    An image that can't be read when it is needed ends the work, or, with
    ``skip_unreadable``, gives its place to the first of its batch that can.
    """

    def __init__(
        self,
        sources: Sequence[ImageSource],
        size: int,
        *,
        cache_mb: float = CACHE_MB,
        num_processes: int | None = None,
        skip_unreadable: bool = False,
    ) -> None:
        """Decodes all images if they fit.

        Args:
          sources: the images; position i counts through the sources in their order.
          size: side in pixels that images are resampled to.
          cache_mb: MiB that decoded images may take in memory, at ``3 * size**2``
            bytes an image; 0 keeps none.
          num_processes: how many processes decode what does not fit, each with two or
            three batches in memory; None means one a core, at most 8.
          skip_unreadable: go on without images that can't be read.

        Raises:
          UnreadableImage: as :meth:`ImageSource.read` and ``decode_bytes``.
          InputError: arguments out of range.
        """
        check_resources(cache_mb, num_processes)
        self._reader = _Reader(sources, size, skip_unreadable)
        self._num_processes = num_processes or min(
            _MOST_PROCESSES, default_num_processes()
        )
        self._unreadable: dict[int, tuple[str, str]] = {}
        self.cache: np.ndarray | None = None
        if len(self) * 3 * size**2 <= cache_mb * _MIB:
            self.cache = self._decode_all()

    def __len__(self) -> int:
        return len(self._reader)

    def batches(self, orders: Iterable[np.ndarray]) -> "Iterator[ImageBatch]":
        """Yields a batch for each order, until it is closed.

        Args:
          orders: ``[b]`` positions of images; taken as needed, a few ahead.

        Raises:
          UnreadableImage: as :meth:`ImageSource.read` and ``decode_bytes``.
          MemoryError: a worker process was ended from outside.
        """
        if self.cache is not None:
            for order in orders:
                rows, skipped = order, {}
                if self._unreadable:
                    rows, skipped = _replaced(order, self._unreadable)
                yield ImageBatch(self.cache[rows], rows, skipped)
            return
        decoded = map_in_processes(
            _decode_in_worker,
            orders,
            self._num_processes,
            initializer=_start_worker,
            arguments=(self._reader,),
        )
        with contextlib.closing(decoded):
            yield from decoded

    def _decode_all(self) -> np.ndarray:
        total, size = len(self), self._reader.size
        images = np.empty((total, size, size, 3), np.uint8)
        # Decoders release the interpreter's lock, so threads run side by side.
        with (
            quiet_decoders(),
            concurrent.futures.ThreadPoolExecutor(default_num_processes()) as pool,
            progress_bar(
                description="reading images", total=total, unit="image"
            ) as bar,
        ):
            for start in range(0, total, _DECODED_AT_ONCE):
                some = range(start, min(start + _DECODED_AT_ONCE, total))
                for i, image in zip(
                    some, pool.map(self._reader.try_to_read, some), strict=True
                ):
                    if isinstance(image, UnreadableImage):
                        self._unreadable[i] = self._reader.explain(i, image)
                    else:
                        images[i] = image
                bar.update(len(some))
        return images


def check_resources(cache_mb: float, num_processes: int | None) -> None:
    """Checks the arguments of :class:`ImageBatches`.

    Raises:
      InputError: one of them is out of range.
    """
    checks.in_range(cache_mb, "cache_mb", 0)
    if num_processes is not None:
        checks.whole_number(num_processes, "num_processes", 1, 2**10)


class _Reader:
    """Decodes images of several sources by one running position."""

    def __init__(
        self, sources: Sequence[ImageSource], size: int, skip_unreadable: bool
    ) -> None:
        self.size = size
        self._skip_unreadable = skip_unreadable
        self._sources = list(sources)
        self._ends = np.cumsum([len(source) for source in sources])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, position: int) -> np.ndarray:
        """``[size, size, 3]`` uint8 RGB."""
        source, index = self._place(position)
        return decode_bytes(source.read(index), self.size, name_of(source, index))

    def try_to_read(self, position: int) -> np.ndarray | UnreadableImage:
        """The same, or why not, where that is no reason to end."""
        try:
            return self.read(position)
        except UnreadableImage as error:
            if not self._skip_unreadable:
                raise
            return error

    def explain(self, position: int, error: UnreadableImage) -> tuple[str, str]:
        """The path of an image, and why it can't be read."""
        source, index = self._place(position)
        path = os.path.join(source.name, source.records[index]["file_name"])
        return path, error.reason

    def _place(self, position: int) -> tuple[ImageSource, int]:
        number = int(np.searchsorted(self._ends, position, side="right"))
        source = self._sources[number]
        return source, int(position) - int(self._ends[number]) + len(source)


def _replaced(
    order: np.ndarray, unreadable: Mapping[int, tuple[str, str]]
) -> tuple[np.ndarray, dict[str, str]]:
    """An order without some images, whose places another one takes.

    Raises:
      InputError: none is left.
    """
    bad = np.isin(order, [*unreadable])
    if bad.all():
        path, reason = unreadable[int(order[0])]
        raise InputError(f"{path}: {reason}; nor can any other image of its batch be")
    skipped = dict(unreadable[int(position)] for position in order[bad])
    return np.where(bad, order[np.argmin(bad)], order), skipped


# Of a worker process: sent once, since what is known of the sources may be large.
_reader: _Reader | None = None


def _start_worker(reader: _Reader) -> None:
    global _reader
    _reader = reader


def _decode_in_worker(order: np.ndarray) -> ImageBatch:
    with quiet_decoders():
        found = [_reader.try_to_read(position) for position in order]
    unreadable = {
        int(position): _reader.explain(position, image)
        for position, image in zip(order, found, strict=True)
        if isinstance(image, UnreadableImage)
    }
    if not unreadable:
        return ImageBatch(np.stack(found), order, {})
    rows, skipped = _replaced(order, unreadable)
    by_position = dict(zip(order.tolist(), found, strict=True))
    return ImageBatch(
        np.stack([by_position[row] for row in rows.tolist()]), rows, skipped
    )
