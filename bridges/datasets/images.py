"""Image files: reading them upright, in RGB and square, and writing JPEG."""

import concurrent.futures
import contextlib
import errno
import io
import os
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

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
        with Image.open(name) as file:
            if size is not None and file.width * file.height > _LARGE_PIXELS:
                file.draft("RGB", (_SPARE * size, _SPARE * size))
            return _to_rgb(_upright(file))
    except Exception as error:
        # A damaged file can make a decoder raise anything, by where the damage is.
        if isinstance(error, OSError) and error.errno in _SHORTAGES:
            raise
        raise UnreadableImage(name, _reason(name, error)) from None


def _upright(image: Image.Image) -> Image.Image:
    """Applies the EXIF orientation; one that can't be read is none.

    ``ImageOps.exif_transpose`` also writes the metadata anew, and fails where they are
    of a wrong type.
    """
    image.load()
    try:
        method = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:
        # Whatever is wrong with its metadata, the image itself has been decoded.
        return image
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PPM"):
        # Pillow's own conversion clips at 255; 65535 / 257 = 255.
        image = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError("grey of unknown range; save it as PNG of 8 or 16 bits")
    if image.has_transparency_data:
        # Under transparent pixels any colour may be hidden.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _BACKGROUND), image)
    return image if image.mode == "RGB" else image.convert("RGB")


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
        reason = "of no known format"
    else:
        # Of a system call the number and the name again say nothing more.
        said = getattr(error, "strerror", None) or str(error)
        reason = " ".join(said.split()) or type(error).__name__
    return f"not a readable image ({reason}); {remedy}"
