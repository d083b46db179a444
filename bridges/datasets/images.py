"""Image files and sources: reading them into arrays, and encoding them."""

import concurrent.futures
import io
import os
import pathlib
import stat
from collections.abc import Sequence

import numpy as np
from PIL import Image

from bridges.datasets.decoding import (
    SHORTAGES,
    UnreadableImage,
    decode_bytes,
    not_readable,
    open_bytes,
    quiet_decoders,
    said_by,
)
from bridges.datasets.image_source import ImageSource
from bridges.worker_processes import default_num_processes
from hyperface_jax import InputError
from hyperface_jax.commands import progress as progress_bar

__all__ = [
    "UnreadableImage",
    "decode_bytes",
    "encode_jpeg",
    "encode_png",
    "load_images",
    "name_of",
    "quiet_decoders",
    "read_file",
    "read_image",
    "unreadable_images",
]

# At face sizes, halved chroma resolution smears the colour of lips and irises over the
# skin; keeping it costs little.
_JPEG_QUALITY = 95
_NO_CHROMA_SUBSAMPLING = 0
_CHECKED_AT_ONCE = 256
_CHECKED_SIZE = 64
# Twice what the most pixels that Pillow decodes take uncompressed, at 16 bits each.
_LARGEST_FILE = 2 * 2**30


def encode_jpeg(image: np.ndarray) -> bytes:
    """Encodes an image as JPEG, quality 95, full colour resolution.

    Args:
      image: ``[h, w, 3]`` uint8 RGB.

    Raises:
      InputError: another shape or dtype.
    """
    try:
        image = np.asarray(image)
    except ValueError:
        raise InputError("image is no array: its rows differ in length") from None
    right = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    if not right or not image.size:
        raise InputError(
            f"image is {image.dtype} {image.shape}, expected uint8 [height, width, 3]"
        )
    buffer = io.BytesIO()
    Image.fromarray(image).save(
        buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=_NO_CHROMA_SUBSAMPLING
    )
    return buffer.getvalue()


def encode_png(image: np.ndarray) -> bytes:
    """Encodes an image as PNG, which loses nothing.

    Args:
      image: ``[h, w, 3]`` uint8 RGB.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The content of an image file.

    Args:
      path: of the file.

    Raises:
      UnreadableImage: no such file, a folder, a device or a pipe, or one that the
        system can't read; names the file.
    """
    name = os.fsdecode(path)
    try:
        return _content_of(name)
    except UnreadableImage:
        raise
    except (OSError, ValueError, MemoryError) as error:
        if getattr(error, "errno", None) in SHORTAGES:
            raise
        raise UnreadableImage(name, _reason(name, error)) from None


def read_image(path: str | os.PathLike[str], size: int | None = None) -> np.ndarray:
    """Reads one image file.

    Args:
      path: of the file.
      size: side in pixels, as for :func:`decode_bytes`.

    Returns:
      ``[h, w, 3]`` uint8 RGB.

    Raises:
      UnreadableImage: as :func:`read_file` and :func:`decode_bytes`.
      InputError: no path, or an impossible ``size``.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise InputError(f"path is {path!r}, must name an image")
    with quiet_decoders():
        return decode_bytes(read_file(path), size, os.fsdecode(path))


def name_of(source: ImageSource, index: int) -> str:
    """The name of an image, for messages: its file's below the source's."""
    return str(pathlib.Path(source.name) / source.records[index]["file_name"])


def load_images(
    source: ImageSource,
    size: int | None = None,
    indices: Sequence[int] | np.ndarray | None = None,
    *,
    progress: bool = False,
) -> np.ndarray:
    """Reads many images into one array.

    Args:
      source: holds the images.
      size: side in pixels, as for :func:`decode_bytes`; None when all have one size.
      indices: which images, at least one; default all.
      progress: show a bar with rate and time left.

    Returns:
      ``[n, h, w, 3]`` uint8 RGB.

    Raises:
      UnreadableImage: as :func:`read_image`.
      InputError: no images, or differing sizes without ``size``.
    """
    indices = range(len(source)) if indices is None else indices
    if not len(indices):
        raise InputError("no images to read")
    shown = indices
    if progress:
        shown = progress_bar(indices, description="reading images", unit="image")
    images = None
    with quiet_decoders():
        for row, index in enumerate(shown):
            name = name_of(source, index)
            image = decode_bytes(source.read(index), size, name)
            if images is None:
                images = np.empty((len(indices), *image.shape), np.uint8)
            if image.shape != images.shape[1:]:
                raise InputError(
                    f"{name}: {image.shape[1]} x {image.shape[0]} pixels, but "
                    f"{name_of(source, indices[0])} has {images.shape[2]} x "
                    f"{images.shape[1]}; give one size for all"
                )
            images[row] = image
    return images


def unreadable_images(
    source: ImageSource, *, description: str = "checking images"
) -> dict[int, str]:
    """Decodes every image, on all cores, and tells which can't be read, and why.

    Args:
      source: holds the images.
      description: of the progress bar.

    Returns:
      The reason by position in ``source``, in rising order.
    """

    def reason(index: int) -> str | None:
        try:
            open_bytes(source.read(index), _CHECKED_SIZE, name_of(source, index))
        except UnreadableImage as error:
            return error.reason
        return None

    # Decoders release the interpreter's lock, so threads run side by side.
    with (
        quiet_decoders(),
        concurrent.futures.ThreadPoolExecutor(default_num_processes()) as pool,
        progress_bar(description=description, total=len(source), unit="image") as bar,
    ):
        found = {}
        for start in range(0, len(source), _CHECKED_AT_ONCE):
            some = range(start, min(start + _CHECKED_AT_ONCE, len(source)))
            for i, why in zip(some, pool.map(reason, some), strict=True):
                if why is not None:
                    found[i] = why
            bar.update(len(some))
    return found


def _content_of(name: str) -> bytes:
    status = os.stat(name)
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableImage(name, "a folder, expected an image")
    if not stat.S_ISREG(status.st_mode):
        # Reading it may wait, or continue, forever.
        raise UnreadableImage(name, "not a file, but a device or pipe")
    if status.st_size > _LARGEST_FILE:
        raise UnreadableImage(name, "larger than 2 GiB; make it smaller")
    with open(name, "rb") as file:
        return file.read()


def _reason(name: str, error: Exception) -> str:
    """Why the file could not be read, in words."""
    if isinstance(error, FileNotFoundError):
        link = os.path.islink(name)
        return "a link that leads nowhere" if link else "no such image"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, MemoryError):
        return not_readable("it asks for more memory than there is")
    return not_readable(said_by(error))
