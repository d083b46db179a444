"""Contact sheets: faces side by side, as one picture or as parts of a page."""

import base64
import html
import io
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from bridges.datasets.image_dataset import ImageDataset
from bridges.datasets.images import encode_jpeg, read_image

# Shown at most this large, twice what the page gives a face: sharp on any screen.
_FACE_PIXELS = 112


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    *,
    size: int = 112,
    gap: int = 4,
    set_first_apart: bool = False,
) -> np.ndarray:
    """Puts images into one, a row per sequence.

    Args:
      rows: images ``[h, w, 3]`` uint8 RGB; rows may differ in length.
      size: side of each image in the sheet, in pixels.
      gap: white pixels between images and around the sheet.
      set_first_apart: leave more room after the first column.

    Returns:
      ``[height, width, 3]`` uint8.
    """
    columns = max(len(row) for row in rows)
    step = size + gap
    aside = 3 * gap if set_first_apart else 0
    shape = (len(rows) * step + gap, columns * step + gap + aside, 3)
    sheet = np.full(shape, 255, np.uint8)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, left = gap + i * step, gap + j * step + aside * (j > 0)
            face = Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS)
            sheet[top : top + size, left : left + size] = np.asarray(face)
    return sheet


def spread(count: int, total: int) -> list[int]:
    """At most ``count`` indices, evenly over ``range(total)``."""
    return sorted({round(x) for x in np.linspace(0, total - 1, min(count, total))})


def rows_by_identity(
    dataset: ImageDataset, identities: Sequence[int], images: int
) -> list[list[int]]:
    """Indices of the first images of some identities.

    Args:
      dataset: the images.
      identities: positions in ``dataset.identities``.
      images: how many of each at most.

    Returns:
      A list of indices into ``dataset.paths`` per identity.
    """
    return [
        np.flatnonzero(dataset.labels == identity)[:images].tolist()
        for identity in identities
    ]


def face_element(path: str | os.PathLike[str], alternative: str) -> str:
    """An ``<img>`` that carries the picture within itself.

    Args:
      path: the image file; made smaller when it is larger than the page shows.
      alternative: what a reader who does not see it is told.

    Raises:
      InputError: an unreadable image; names the file.
    """
    path = pathlib.Path(path)
    try:
        with Image.open(path) as file:
            fits = max(file.size) <= _FACE_PIXELS and file.format == "JPEG"
    except OSError:
        fits = False  # Reading it below says what is wrong.
    content = path.read_bytes() if fits else encode_jpeg(_smaller(path))
    data = base64.b64encode(content).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="{html.escape(alternative)}">'


def encode_png(sheet: np.ndarray) -> bytes:
    """Encodes a contact sheet, ``[height, width, 3]`` uint8, as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _smaller(path: pathlib.Path) -> np.ndarray:
    image = read_image(path)
    side = min(_FACE_PIXELS, *image.shape[:2])
    return read_image(path, side)
