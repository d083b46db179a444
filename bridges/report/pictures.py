"""Faces as pictures that the page carries inside."""

import base64
import os
import pathlib

import numpy as np
from PIL import Image

from bridges.datasets.images import encode_jpeg, read_image
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
    content = path.read_bytes() if fits else encode_jpeg(_smaller(path))
    return _embedded(content, alternative)


def pixels_picture(image: np.ndarray, alternative: str) -> Picture:
    """Embeds an image as it is, as JPEG.

    Args:
      image: ``[h, w, 3]`` uint8 RGB.
      alternative: the description for readers who do not see it.
    """
    return _embedded(encode_jpeg(image), alternative)


def _embedded(content: bytes, alternative: str) -> Picture:
    data = base64.b64encode(content).decode()
    return Picture(f"data:image/jpeg;base64,{data}", alternative)


def _smaller(path: pathlib.Path) -> np.ndarray:
    image = read_image(path)
    side = min(_FACE_PIXELS, *image.shape[:2])
    return read_image(path, side)
