"""Boxes around faces: left, top, right, bottom in pixels."""

import numpy as np


def suppress_overlapping(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, *, of_smaller: bool = False
) -> np.ndarray:
    """Non-maximum suppression: of boxes that overlap, the one with the best score.

    Args:
      boxes: ``[n, 4]``.
      scores: ``[n]``.
      threshold: the share of overlap above which two boxes are of one face.
      of_smaller: the share of the smaller box rather than of both boxes' union.

    Returns:
      Positions kept, best score first; equal scores in their order.
    """
    left, top, right, bottom = boxes.T
    area = (right - left) * (bottom - top)
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        over = np.minimum(right[best], right[rest]), np.maximum(left[best], left[rest])
        down = np.minimum(bottom[best], bottom[rest]), np.maximum(top[best], top[rest])
        width, height = over[0] - over[1], down[0] - down[1]
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        whole = area[best] + area[rest] - shared
        if of_smaller:
            whole = np.minimum(area[best], area[rest])
        order = rest[shared <= threshold * whole]
    return np.array(kept, int)


def moved(boxes: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Boxes ``[n, 4]`` with each side moved by a share ``[n, 4]`` of their size."""
    size = boxes[:, 2:] - boxes[:, :2]
    return boxes + shifts * np.hstack([size, size])


def squares(boxes: np.ndarray) -> np.ndarray:
    """Squares ``[n, 4]`` of whole pixels about boxes, as large as their longer side."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) / 2
    return np.round(np.hstack([centre - half, centre + half]))
