"""Batches of decoded images by position: kept in memory, or decoded when needed."""

import concurrent.futures
import contextlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from bridges.datasets.image_source import ImageSource
from bridges.datasets.images import decode_bytes, name_of, quiet_decoders
from bridges.recognition.config import CACHE_MB
from bridges.worker_processes import default_num_processes, map_in_processes
from hyperface_jax import checks
from hyperface_jax.commands import progress as progress_bar

_MIB = 2**20
# A core decodes about a thousand faces a second, so that more processes would only take
# memory for what each knows of the sources.
_MOST_PROCESSES = 8
_DECODED_AT_ONCE = 256


class ImageBatches:
    """Images of one or several sources, resampled to one size, by position.

    Where all of them fit into ``cache_mb`` they are decoded once, here, and kept.
    Otherwise nothing is kept: worker processes decode the batches, a few ahead. Both
    ways give the same pixels.
    """

    def __init__(
        self,
        sources: Sequence[ImageSource],
        size: int,
        *,
        cache_mb: float = CACHE_MB,
        num_processes: int | None = None,
    ) -> None:
        """Decodes all images if they fit.

        Args:
          sources: the images; position i counts through the sources in their order.
          size: side in pixels that images are resampled to.
          cache_mb: MiB that decoded images may take in memory, at ``3 * size**2``
            bytes an image; 0 keeps none.
          num_processes: how many processes decode what does not fit, each with two or
            three batches in memory; None means one a core, at most 8.

        Raises:
          UnreadableImage: as :meth:`ImageSource.read` and ``decode_bytes``.
          InputError: arguments out of range.
        """
        check_resources(cache_mb, num_processes)
        self._reader = _Reader(sources, size)
        self._num_processes = num_processes or min(
            _MOST_PROCESSES, default_num_processes()
        )
        self.cache: np.ndarray | None = None
        if len(self) * 3 * size**2 <= cache_mb * _MIB:
            self.cache = self._decode_all()

    def __len__(self) -> int:
        return len(self._reader)

    def batches(self, orders: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields a batch for each order, until it is closed.

        Args:
          orders: ``[b]`` positions of images; taken as needed, a few ahead.

        Yields:
          ``[b, size, size, 3]`` uint8 RGB.

        Raises:
          UnreadableImage: as :meth:`ImageSource.read` and ``decode_bytes``.
          MemoryError: a worker process was ended from outside.
        """
        if self.cache is not None:
            for order in orders:
                yield self.cache[order]
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
                    some, pool.map(self._reader.read, some), strict=True
                ):
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

    def __init__(self, sources: Sequence[ImageSource], size: int) -> None:
        self.size = size
        self._sources = list(sources)
        self._ends = np.cumsum([len(source) for source in sources])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, position: int) -> np.ndarray:
        """``[size, size, 3]`` uint8 RGB."""
        number = int(np.searchsorted(self._ends, position, side="right"))
        source = self._sources[number]
        index = int(position) - int(self._ends[number]) + len(source)
        return decode_bytes(source.read(index), self.size, name_of(source, index))


# Of a worker process: sent once, since what is known of the sources may be large.
_reader: _Reader | None = None


def _start_worker(reader: _Reader) -> None:
    global _reader
    _reader = reader


def _decode_in_worker(order: np.ndarray) -> np.ndarray:
    with quiet_decoders():
        return np.stack([_reader.read(position) for position in order])
