"""Decoding of image files: their bytes to upright, opaque RGB pixels."""

import contextlib
import errno
import functools
import io
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bridges.datasets import image_bytes
from bridges.datasets.pixel_modes import to_rgb, upright
from hyperface_jax import InputError, checks

# A larger JPEG is decoded at a fraction of its size where a smaller one is wanted, but
# at four times that at least: nothing is lost, and memory stays small.
_LARGE_PIXELS = 16_000_000
_SPARE = 4
# The machine's fault, not the image's.
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
# Formats that Pillow opens and can't decode by itself, or only by running a program.
_NOT_DECODED = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
# Larger content is not decoded again without its metadata, which takes a second copy.
_LARGEST_READ_AGAIN = 512 * 2**20
_REMEDY = "remove it or make it again"


class UnreadableImage(InputError):
    """An image that can't be read.

    Attributes:
      name: of the image.
      reason: why not, and what to do; the message is both.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        # Without this it could not be sent between processes: by default it would be
        # rebuilt from its message alone.
        return type(self), (self.name, self.reason)


@functools.cache
def decoded_formats() -> tuple[str, ...]:
    """The formats that Pillow decodes by itself, in the order it tries them."""
    # What phones write; the package is optional.
    with contextlib.suppress(ImportError):
        import pi_heif

        pi_heif.register_heif_opener()
    Image.preinit()
    Image.init()
    return tuple(name for name in Image.ID if name not in _NOT_DECODED)


@contextlib.contextmanager
def quiet_decoders() -> Iterator[None]:
    """Suppresses the warnings of decoders, which name no file.

    What they warn of is refused with the file's name where it matters. Not to be
    entered by several threads at a time.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode_bytes(
    content: bytes, size: int | None = None, name: str = "image"
) -> np.ndarray:
    """Decodes one image; may run in several threads at a time.

    Decoders release the interpreter's lock. Callers enter :func:`quiet_decoders`.

    Args:
      content: of an image file, in any format that Pillow decodes; grey of 8 or 16
        bits and palettes become RGB, transparent parts are put on white, and the EXIF
        orientation of photographs is applied. Of several frames the first is decoded.
      size: side in pixels: the central square is cropped and resampled (bicubic,
        antialiased) unless the image has this size already. None keeps it as it is.
      name: of the image, for messages.

    Returns:
      ``[size, size, 3]`` uint8 RGB, or ``[h, w, 3]`` without ``size``.

    Raises:
      UnreadableImage: empty, truncated, not an image, or one whose numbers have no
        known range.
      InputError: an impossible ``size``.
    """
    if size is not None:
        checks.whole_number(size, "size", 1)
    image = open_bytes(content, size, name)
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)


def open_bytes(content: bytes, size: int | None, name: str) -> Image.Image:
    """The decoded image, upright, in RGB and still of about its own size.

    Args:
      content: of an image file.
      size: what it will be resampled to, or None; large JPEGs are decoded smaller.
      name: for messages.

    Raises:
      UnreadableImage: as :func:`decode_bytes`.
    """
    try:
        return _decoded(content, size)
    except Exception as error:
        # A damaged file can make a decoder raise anything, by where the damage is.
        if isinstance(error, OSError) and error.errno in SHORTAGES:
            raise
        image = _without_metadata(content, size)
        if image is None:
            raise UnreadableImage(name, _reason(content, error)) from None
        return image


def stored_as(content: bytes, name: str) -> tuple[str, tuple[int, int]]:
    """The format of an image file, as Pillow names it, and its size as it is stored.

    Decodes nothing; Exif may turn the image further on.

    Args:
      content: of an image file.
      name: for messages.

    Returns:
      The format, and width and height in pixels.

    Raises:
      UnreadableImage: not an image.
    """
    try:
        return _stored_as(content)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in SHORTAGES:
            raise
        try:
            # As open_bytes, which reads images whose metadata are damaged.
            return _stored_as(image_bytes.without_metadata(content) or b"")
        except Exception:
            raise UnreadableImage(name, _reason(content, error)) from None


def size_of(content: bytes) -> tuple[int, int] | None:
    """Width and height of an encoded image, without decoding it; None if unknown."""
    try:
        return stored_as(content, "image")[1]
    except UnreadableImage:
        return None


def not_readable(reason: str) -> str:
    """The reason in a sentence with the remedy."""
    return f"not a readable image ({' '.join(reason.split())}); {_REMEDY}"


def said_by(error: Exception) -> str:
    """What an error says of an image, without the name and the number."""
    said = getattr(error, "strerror", None) or str(error)
    return said if said.strip() else type(error).__name__


def _decoded(content: bytes, size: int | None) -> Image.Image:
    with Image.open(io.BytesIO(content), formats=decoded_formats()) as image:
        if size is not None and image.width * image.height > _LARGE_PIXELS:
            image.draft("RGB", (_SPARE * size, _SPARE * size))
        # Only the image as stored says how it was held.
        return upright(image, to_rgb(image))


def _stored_as(content: bytes) -> tuple[str, tuple[int, int]]:
    with Image.open(io.BytesIO(content), formats=decoded_formats()) as image:
        return str(image.format), image.size


def _without_metadata(content: bytes, size: int | None) -> Image.Image | None:
    """A second try, at the pixels alone; None where that does not help."""
    try:
        if len(content) > _LARGEST_READ_AGAIN:
            return None
        kept = image_bytes.without_metadata(content)
        return None if kept is None else _decoded(kept, size)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in SHORTAGES:
            raise
        return None


def _reason(content: bytes, error: Exception) -> str:
    """Why ``content`` could not be decoded, in words."""
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller"
    if isinstance(error, MemoryError):
        return not_readable("it asks for more memory than there is")
    if not content:
        return not_readable("the file is empty")
    if isinstance(error, UnidentifiedImageError):
        kind = image_bytes.kind_of(content[: image_bytes.START])
        return not_readable("of no known format") if kind is None else kind
    return not_readable(said_by(error))
