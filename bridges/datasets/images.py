"""Image files: reading them upright, in RGB and square, and writing JPEG."""

import concurrent.futures
import contextlib
import errno
import functools
import io
import os
import stat
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from bridges.datasets import image_bytes
from bridges.worker_processes import default_num_processes
from hyperface_jax import InputError, checks
from hyperface_jax.commands import progress as progress_bar

# At face sizes, halved chroma resolution smears the colour of lips and irises over the
# skin; keeping it costs little.
_JPEG_QUALITY = 95
_NO_CHROMA_SUBSAMPLING = 0
# What transparent parts are put on: the paper that such images are made for.
_BACKGROUND = "white"
# A larger JPEG is decoded at a fraction of its size where a smaller one is wanted, but
# at four times that at least: nothing is lost, and memory stays small.
_LARGE_PIXELS = 16_000_000
_SPARE = 4
# The EXIF standard's orientations, and what sets each upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The machine's fault, not the image's.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_CHECKED_AT_ONCE = 256
_CHECKED_SIZE = 64
# Formats that Pillow opens and can't decode by itself, or only by running a program.
_NOT_DECODED = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
# A larger file is not read again without its metadata: it would be whole in memory.
_LARGEST_READ_AGAIN = 512 * 2**20
# Pillow scales shades of these to 8 bits, and leaves the transparent one as it was.
_SCALED_TO_8_BITS = {"L;2": 255 / 3, "L;4": 255 / 15, "RGB;16B": 255 / 65535}
_WHITE_IS_ZERO = 0


class UnreadableImage(InputError):
    """An image file that can't be read.

    Attributes:
      name: of the file.
      reason: why not, and what to do; the message is both.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        # Or a process that sends it could not: the message alone builds none.
        return type(self), (self.name, self.reason)


@functools.cache
def decoded_formats() -> tuple[str, ...]:
    """The formats that Pillow decodes by itself, in the order it tries them."""
    Image.preinit()
    Image.init()
    return tuple(name for name in Image.ID if name not in _NOT_DECODED)


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


def read_image(path: str | os.PathLike[str], size: int | None = None) -> np.ndarray:
    """Reads one image file.

    Args:
      path: any format Pillow reads; grey of 8 or 16 bits and palettes become RGB,
        transparent parts are put on white, and the EXIF orientation of photographs is
        applied. Of several frames the first is read.
      size: side in pixels: the central square is taken and resampled (bicubic,
        antialiased) unless the image has this size already. None keeps it as it is.

    Returns:
      ``[h, w, 3]`` uint8 RGB.

    Raises:
      UnreadableImage: no such file, empty, truncated, not an image, or one whose
        numbers have no known range; names the file.
    """
    with quiet_decoders():
        return decode(path, size)


def read_images(
    paths: Sequence[str | os.PathLike[str]],
    size: int | None = None,
    *,
    progress: bool = False,
) -> np.ndarray:
    """Reads many image files into one array.

    Args:
      paths: the files, at least one.
      size: side in pixels, as for :func:`read_image`; None when all have one size.
      progress: show a bar with rate and time left.

    Returns:
      ``[n, h, w, 3]`` uint8 RGB.

    Raises:
      InputError: as :func:`read_image`; or no paths, or differing sizes without
        ``size``.
    """
    if not len(paths):
        raise InputError("no images to read")
    first = read_image(paths[0], size)
    images = np.empty((len(paths), *first.shape), np.uint8)
    indices = range(len(paths))
    if progress:
        indices = progress_bar(indices, description="reading images", unit="image")
    for i in indices:
        image = read_image(paths[i], size) if i else first
        if image.shape != first.shape:
            raise InputError(
                f"{paths[i]}: {image.shape[1]} x {image.shape[0]} pixels, but "
                f"{paths[0]} has {first.shape[1]} x {first.shape[0]}; "
                "give one size for all"
            )
        images[i] = image
    return images


def unreadable_images(
    paths: Sequence[str | os.PathLike[str]], *, description: str = "checking images"
) -> dict[int, str]:
    """Decodes every image, on all cores, and tells which can't be read, and why.

    Args:
      paths: the files.
      description: of the progress bar.

    Returns:
      The reason by position in ``paths``, in rising order.
    """

    def reason(path: str | os.PathLike[str]) -> str | None:
        try:
            _open(os.fspath(path), _CHECKED_SIZE)
        except UnreadableImage as error:
            return error.reason
        return None

    # Decoders let go of the interpreter's lock, so threads run side by side.
    with (
        quiet_decoders(),
        concurrent.futures.ThreadPoolExecutor(default_num_processes()) as pool,
        progress_bar(description=description, total=len(paths), unit="image") as bar,
    ):
        found = {}
        for start in range(0, len(paths), _CHECKED_AT_ONCE):
            some = paths[start : start + _CHECKED_AT_ONCE]
            for i, why in enumerate(pool.map(reason, some), start):
                if why is not None:
                    found[i] = why
            bar.update(len(some))
    return found


@contextlib.contextmanager
def quiet_decoders() -> Iterator[None]:
    """Drops the warnings of decoders, which name no file.

    What they warn of is refused with the file's name where it matters. Not to be
    entered by several threads at a time.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode(path: str | os.PathLike[str], size: int | None = None) -> np.ndarray:
    """:func:`read_image` for threads; their caller enters :func:`quiet_decoders`."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise InputError(f"path is {path!r}, must name an image")
    if size is not None:
        checks.whole_number(size, "size", 1)
    image = _open(os.fsdecode(path), size)
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _open(name: str, size: int | None) -> Image.Image:
    """The decoded image, upright, in RGB and still of about its own size."""
    try:
        mode = os.stat(name).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        if not stat.S_ISREG(mode):
            # Reading it may wait, or go on, for ever.
            raise UnreadableImage(name, "not a file, but a device or pipe")
        return _decoded(name, size)
    except UnreadableImage:
        raise
    except Exception as error:
        # A damaged file can make a decoder raise anything, by where the damage is.
        if isinstance(error, OSError) and error.errno in _SHORTAGES:
            raise
        image = _without_metadata(name, size)
        if image is None:
            raise UnreadableImage(name, _reason(name, error)) from None
        return image


def _decoded(file: str | io.BytesIO, size: int | None) -> Image.Image:
    with Image.open(file, formats=decoded_formats()) as image:
        if size is not None and image.width * image.height > _LARGE_PIXELS:
            image.draft("RGB", (_SPARE * size, _SPARE * size))
        _scale_transparent_shade(image)
        # Once it is another image it no longer says how it was stored.
        return _upright(image, _to_rgb(image))


def _without_metadata(name: str, size: int | None) -> Image.Image | None:
    """A second try, at the pixels alone; None where that does not help."""
    try:
        with open(name, "rb") as file:
            start = file.read(image_bytes.START)
            large = os.fstat(file.fileno()).st_size > _LARGEST_READ_AGAIN
            if large or not image_bytes.may_have_metadata(start):
                return None
            content = image_bytes.without_metadata(start + file.read())
        return None if content is None else _decoded(io.BytesIO(content), size)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _SHORTAGES:
            raise
        return None


def _upright(stored: Image.Image, shown: Image.Image) -> Image.Image:
    """Applies the EXIF orientation of ``stored``; one that can't be read is none.

    ``ImageOps.exif_transpose`` also writes the metadata anew, and fails where they are
    of a wrong type.
    """
    try:
        method = _UPRIGHT.get(stored.getexif().get(ExifTags.Base.Orientation))
    except Exception:
        # Whatever is wrong with its metadata, the image itself has been decoded.
        return shown
    return shown if method is None else shown.transpose(method)


def _scale_transparent_shade(image: Image.Image) -> None:
    """Gives the transparent colour of a PNG, before decoding, the bits of pixels."""
    colour = image.info.get("transparency")
    if image.format != "PNG" or not isinstance(colour, int | tuple) or not image.tile:
        return
    scale = _SCALED_TO_8_BITS.get(image.tile[0].args)
    if scale is not None and isinstance(colour, int):
        image.info["transparency"] = int(colour * scale)
    elif scale is not None:
        image.info["transparency"] = tuple(int(channel * scale) for channel in colour)


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PPM"):
        image = _to_8_bits(image)
    elif image.mode in ("I", "F"):
        raise ValueError("grey of unknown range; save it as PNG of 8 or 16 bits")
    if image.has_transparency_data:
        # Under transparent pixels any colour may be hidden.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _BACKGROUND), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, or 12, in 8; the transparent shade is put on white."""
    stored = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    bits = 12 if tags.get(ExifTags.Base.BitsPerSample) == (12,) else 16
    # Pillow's own conversion clips at 255; 65535 / 257 = 255.
    shades = np.rint(stored / ((2**bits - 1) / 255)).astype(np.uint8)
    if tags.get(ExifTags.Base.PhotometricInterpretation) == _WHITE_IS_ZERO:
        shades = 255 - shades
    if isinstance(image.info.get("transparency"), int):
        shades[stored == image.info["transparency"]] = 255
    return Image.fromarray(shades)


def _reason(name: str, error: Exception) -> str:
    remedy = "remove it or make it again"
    if isinstance(error, FileNotFoundError):
        if os.path.islink(name):
            return "a link that leads nowhere"
        return "no such image"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, IsADirectoryError):
        return "a folder, expected an image"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller"
    if isinstance(error, MemoryError):
        reason = "it asks for more memory than there is"
    elif os.path.isfile(name) and os.path.getsize(name) == 0:
        reason = "the file is empty"
    elif isinstance(error, UnidentifiedImageError):
        kind = image_bytes.kind_of(_start_of(name))
        if kind is not None:
            return kind
        reason = "of no known format"
    else:
        # Of a system call the number and the name again say nothing more.
        said = getattr(error, "strerror", None) or str(error)
        reason = " ".join(said.split()) or type(error).__name__
    return f"not a readable image ({reason}); {remedy}"


def _start_of(name: str) -> bytes:
    try:
        with open(name, "rb") as file:
            return file.read(image_bytes.START)
    except OSError:
        return b""
