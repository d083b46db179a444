"""Pictures made no larger than a detector looks at."""

import numpy as np
from PIL import Image


def shrink_picture(image: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose longer side is at most ``longest``.

    Args:
      image: ``[h, w, 3]`` uint8 RGB.
      longest: in pixels.

    Returns:
      The picture, a copy that can be written to, and ``[2]`` what its coordinates
      (x, y) are multiplied by to be those of ``image``.
    """
    height, width = image.shape[:2]
    ratio = max(height, width) / longest
    if ratio <= 1:
        return image.copy(), np.ones(2)
    sides = max(1, round(width / ratio)), max(1, round(height / ratio))
    small = np.array(Image.fromarray(image).resize(sides, Image.Resampling.BOX))
    return small, np.array([width, height]) / sides
