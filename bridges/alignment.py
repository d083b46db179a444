"""Where the five landmarks of a face lie in an aligned crop, and the way there."""

import numpy as np

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
