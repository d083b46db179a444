"""Contact sheets: faces side by side in one picture, and the choice of faces."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from bridges.datasets.image_dataset import ImageDataset


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
      set_first_apart: leave a wider gap after the first column.

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


def encode_png(sheet: np.ndarray) -> bytes:
    """Encodes a contact sheet, ``[height, width, 3]`` uint8, as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def evenly_spaced(count: int, total: int) -> list[int]:
    """At most ``count`` indices, evenly spaced over ``range(total)``, ends included."""
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
