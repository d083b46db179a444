"""insightface's ``.bin`` of any verification set."""

import os

import numpy as np

from bridges.datasets.bin_file import write_bin
from bridges.datasets.decoding import size_of
from bridges.datasets.image_bytes import suffix_of
from bridges.datasets.images import (
    decode_bytes,
    encode_png,
    name_of,
    quiet_decoders,
)
from bridges.datasets.verification_set import check_images, load_verification_set
from hyperface_jax import InputError, checks, files

# As insightface and those after it read them.
IMAGE_SIZE = 112
_KNOWN_EVERYWHERE = (".jpg", ".png")


def convert_to_bin(
    pairs: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    image_size: int = IMAGE_SIZE,
    skip_unreadable: bool = False,
) -> int:
    """Writes the pairs of a verification set, fold after fold.

    insightface cuts the pairs into ten folds by their order; where those of the set
    are not equally large, a pair may be in another fold there.

    Args:
      pairs: what :func:`bridges.datasets.verification_set.load_verification_set` takes.
      output: the file to write.
      image_size: side in pixels. JPEG and PNG of this size pass through as they are;
        other images are resampled, and written as PNG.
      skip_unreadable: leave out pairs of images that can't be read.

    Returns:
      The number of pairs.

    Raises:
      InputError: no verification set, images that can't be read, or an output that is
        there already.
    """
    checks.whole_number(image_size, "image_size", 1)
    if files.was_written(output):
        raise InputError(f"{output}: exists; give another --output or remove it")
    files.check_output(output)
    found = check_images(load_verification_set(pairs), skip_unreadable=skip_unreadable)
    with quiet_decoders():
        contents = [
            _sized(found.images.read(i), image_size, name_of(found.images, i))
            for i in range(len(found.images))
        ]
    order = np.argsort(found.fold, kind="stable")
    images = [contents[i] for i in found.pairs[order].ravel().tolist()]
    write_bin(output, images, found.same[order].tolist())
    return len(found.pairs)


def _sized(content: bytes, size: int, name: str) -> bytes:
    if suffix_of(content) in _KNOWN_EVERYWHERE and size_of(content) == (size, size):
        return content
    return encode_png(decode_bytes(content, size, name))
