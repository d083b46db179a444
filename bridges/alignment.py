"""Where the five landmarks of a face lie in an aligned crop, and the way there."""

import numpy as np
from PIL import Image

from hyperface_jax import InputError

# Landmarks (x, y) of the aligned 112 x 112 crop: eyes, nose tip, mouth corners, each
# from left to right in the image (insightface, ``arcface_dst``).
ARCFACE_TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
# The side in pixels of the crop that the template is of.
TEMPLATE_SIZE = 112
# In pixels; closer landmarks are of no face that could be enlarged.
_SMALLEST_SPREAD = 1e-3
# Pixels around what is cut out, so that the edge of the crop is interpolated as well.
_MARGIN = 2


def align_face(image: np.ndarray, points: np.ndarray, size: int = 112) -> np.ndarray:
    """The aligned crop of a face: its landmarks on the template, by least squares.

    Where the crop is smaller than the face, its surroundings are shrunk first and
    warped then: a warp alone looks at single pixels, and aliases.

    Args:
      image: ``[h, w, 3]`` uint8 RGB.
      points: ``[5, 2]`` landmarks (x, y) in pixels of ``image``, in the order of
        :data:`ARCFACE_TEMPLATE`. Integers are the centres of pixels.
      size: side of the crop in pixels.

    Returns:
      ``[size, size, 3]`` uint8 RGB, black outside of the image.

    Raises:
      InputError: landmarks that coincide, or no numbers.
    """
    linear, offset = crop_transform(points, size)
    scale = np.sqrt(np.linalg.det(linear))
    inverse = np.linalg.inv(linear)
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) - offset
    corners = corners @ inverse.T
    low = np.floor(corners.min(0) - _MARGIN).astype(int)
    high = np.ceil(corners.max(0) + _MARGIN).astype(int)
    patch = Image.fromarray(image).crop((*low.tolist(), *high.tolist()))
    if scale < 1:
        width, height = np.maximum(1, np.round((high - low) * scale)).astype(int)
        patch = patch.resize((int(width), int(height)), Image.Resampling.LANCZOS)
    shrunk = np.array(patch.size) / (high - low)
    # From the crop back to the patch.
    back = np.column_stack(
        [inverse * shrunk[:, None], (-inverse @ offset - low) * shrunk]
    )
    crop = patch.transform(
        (size, size),
        Image.Transform.AFFINE,
        tuple(back.ravel()),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(crop)


def crop_transform(points: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The way from an image to its aligned crop.

    Coordinates are such that pixel i covers i … i + 1, as Pillow counts.

    Args:
      points: ``[5, 2]`` landmarks, as for :func:`align_face`.
      size: side of the crop in pixels.

    Returns:
      As :func:`similarity_transform`.

    Raises:
      InputError: landmarks that coincide, or no numbers.
    """
    source = np.asarray(points, float) + 0.5
    target = (ARCFACE_TEMPLATE + 0.5) * size / TEMPLATE_SIZE
    # A NaN, too, is not larger.
    if not np.ptp(source, axis=0).max() > _SMALLEST_SPREAD:
        raise InputError(
            f"landmarks {np.round(source - 0.5, 1).tolist()}: all in one place, or no "
            "numbers; a crop needs five points of a face"
        )
    linear, offset = similarity_transform(source, target)
    if not np.linalg.det(linear) > 0:
        raise InputError(
            f"landmarks {np.round(source - 0.5, 1).tolist()}: not those of a face"
        )
    return linear, offset


def similarity_transform(
    source: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares similarity without reflection (Umeyama, 1991).

    Args:
      source: ``[k, 2]`` points.
      target: ``[k, 2]`` their targets.

    Returns:
      scale: ``[2, 2]``, a rotation times a scale factor.
      offset: ``[2]``, so that ``target ≈ source @ scale.T + offset``.
    """
    centre, goal = source.mean(0), target.mean(0)
    a, b = source - centre, target - goal
    along = (a * b).sum()
    across = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
    scale = np.array([[along, -across], [across, along]]) / (a**2).sum()
    return scale, goal - scale @ centre
