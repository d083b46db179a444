"""Faces as pictures that the page carries inside."""

import base64
import os
import pathlib

import numpy as np
from PIL import Image, ImageOps

from bridges.datasets.images import encode_jpeg, quiet_decoders, read_image
from bridges.report.elements import Picture

# Side of the largest picture: twice what the page gives a face, for dense screens.
_FACE_PIXELS = 112


def face_picture(path: str | os.PathLike[str], alternative: str) -> Picture:
    """Embeds an image file, as it is if it is a small JPEG, else made smaller.

    Args:
      path: the image file.
      alternative: the description for readers who do not see it.

    Raises:
      InputError: an unreadable image; names the file.
    """
    path = pathlib.Path(path)
    try:
        with Image.open(path) as file:
            fits = max(file.size) <= _FACE_PIXELS and file.format == "JPEG"
    except OSError:
        fits = False  # read_image raises the error that names the cause.
    return _embedded(path.read_bytes() if fits else _smaller(path), alternative)


def whole_picture(path: str | os.PathLike[str], alternative: str) -> Picture:
    """Embeds the whole of a picture, in the middle of a white square.

    Args:
      path: the image file.
      alternative: the description for readers who do not see it.

    Raises:
      InputError: an unreadable image; names the file.
    """
    with quiet_decoders():
        image = Image.fromarray(read_image(path))
    square = ImageOps.pad(image, (_FACE_PIXELS, _FACE_PIXELS), color="white")
    return pixels_picture(np.asarray(square), alternative)


def pixels_picture(image: np.ndarray, alternative: str) -> Picture:
    """Embeds an image as it is, as JPEG.

    Args:
      image: ``[h, w, 3]`` uint8 RGB.
      alternative: the description for readers who do not see it.
    """
    return _embedded(encode_jpeg(image), alternative)


def _embedded(jpeg: bytes, alternative: str) -> Picture:
    data = base64.b64encode(jpeg).decode()
    return Picture(f"data:image/jpeg;base64,{data}", alternative)


def _smaller(path: pathlib.Path) -> bytes:
    image = read_image(path)
    side = min(_FACE_PIXELS, *image.shape[:2])
    return encode_jpeg(read_image(path, side))
