"""Image files: reading them square and in RGB, writing JPEG."""

import io
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from hyperface_jax import InputError
from hyperface_jax.commands import progress as progress_bar

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm"))
# At face sizes, halved chroma resolution smears the colour of lips and irises over the
# skin; keeping it costs little.
_JPEG_QUALITY = 95
_NO_CHROMA_SUBSAMPLING = 0


def encode_jpeg(image: np.ndarray) -> bytes:
    """Encodes an image as JPEG, quality 95, full colour resolution.

    Args:
      image: ``[h, w, 3]`` uint8 RGB.

    Raises:
      InputError: another shape or dtype.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
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
      path: any format Pillow reads; grey, of 8 or 16 bits, palette and alpha become
        RGB, and the EXIF orientation of photographs is applied.
      size: side in pixels: the central square is taken and resampled (bicubic,
        antialiased) unless the image has this size already. None keeps it as it is.

    Returns:
      ``[h, w, 3]`` uint8 RGB.

    Raises:
      InputError: no such file, empty, truncated, not an image, or one whose numbers
        have no known range; names the file.
    """
    name = os.fspath(path)
    try:
        with Image.open(name) as file:
            image = _to_rgb(ImageOps.exif_transpose(file))
    except FileNotFoundError:
        raise InputError(f"{name}: no such image") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if pathlib.Path(name).is_file() and os.path.getsize(name) == 0:
            reason = "the file is empty"
        else:
            reason = str(error) or type(error).__name__
        raise InputError(
            f"{name}: not a readable image ({reason}); remove it or make it again"
        ) from None
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255; 65535 / 257 = 255.
        image = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError("grey of unknown range; save it as PNG of 8 or 16 bits")
    return image.convert("RGB")


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
