"""Batches of decoded images, read ahead by threads."""

import concurrent.futures
import contextlib
from collections.abc import Iterator

import numpy as np

from bridges.datasets.image_source import ImageSource
from bridges.datasets.images import decode_bytes, name_of, quiet_decoders
from bridges.worker_processes import default_num_processes

Batch = tuple[range, np.ndarray]


@contextlib.contextmanager
def read_batches(
    source: ImageSource, size: int, batch_size: int
) -> Iterator[Iterator[Batch]]:
    """Reads a source in order; a batch ahead of its caller, on all cores.

    Args:
      source: the images.
      size: side in pixels to crop and resample to.
      batch_size: images a batch; the last may have fewer.

    Yields:
      An iterator of the positions of a batch and its images
      ``[len(positions), size, size, 3]`` uint8. It raises UnreadableImage at the first
      image that can't be read.
    """
    # Decoders release the interpreter's lock, so threads run side by side.
    pool = concurrent.futures.ThreadPoolExecutor(default_num_processes())
    with quiet_decoders():
        try:
            yield _ahead(pool, source, size, batch_size)
        finally:
            pool.shutdown(cancel_futures=True)


def _ahead(
    pool: concurrent.futures.Executor, source: ImageSource, size: int, batch_size: int
) -> Iterator[Batch]:
    def decoded(index: int) -> np.ndarray:
        return decode_bytes(source.read(index), size, name_of(source, index))

    def begin(start: int) -> tuple[range, list[concurrent.futures.Future]]:
        rows = range(start, min(start + batch_size, len(source)))
        return rows, [pool.submit(decoded, row) for row in rows]

    begun = begin(0)
    while begun[0]:
        rows, images = begun
        begun = begin(rows.stop)
        yield rows, np.stack([image.result() for image in images])
