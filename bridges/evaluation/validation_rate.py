"""VAL@FAR as insightface and FaceNet report it beside the accuracy.

The threshold of a fold is where the other folds' impostor pairs are accepted at the
wanted rate, on a grid of squared distances; between two points of it the line through
them is followed. The original interpolates by SciPy's ``interp1d(kind="slinear")``,
which refuses the grid's repeated rates since SciPy 1.10 (insightface 2152, 2438).
"""

from typing import NamedTuple

import numpy as np

THRESHOLDS = np.arange(0, 4, 0.001)


class ValidationRate(NamedTuple):
    """Rates over the held-out folds.

    Attributes:
      val: genuine pairs accepted, mean over the folds.
      val_std: its standard deviation over the folds (ddof = 0).
      far: impostor pairs accepted, mean over the folds.
    """

    val: float
    val_std: float
    far: float


def validation_rate(
    distances: np.ndarray,
    same: np.ndarray,
    fold: np.ndarray,
    false_accept_rate: float = 1e-3,
) -> ValidationRate:
    """VAL at a false accept rate that is kept on the other folds.

    Args:
      distances: ``[p]`` squared distances of unit vectors.
      same: ``[p]`` bool.
      fold: ``[p]`` integers, at least two folds.
      false_accept_rate: at which the other folds' impostors are to be accepted; the
        threshold is 0 where they never are.

    Returns:
      The rates; a fold without pairs of a kind counts as 0 there, as in the original.
    """
    names, fold = np.unique(fold, return_inverse=True)
    impostors = np.stack(
        [_below(distances[~same & (fold == k)], THRESHOLDS) for k in range(len(names))]
    )
    sizes = np.array([(~same & (fold == k)).sum() for k in range(len(names))])
    val, far = np.zeros(len(names)), np.zeros(len(names))
    for k in range(len(names)):
        others = max(1, sizes.sum() - sizes[k])
        rates = (impostors.sum(0) - impostors[k]) / others
        threshold = 0.0
        if rates.max() >= false_accept_rate:
            # Of equal rates np.interp takes the last threshold.
            threshold = np.interp(false_accept_rate, rates, THRESHOLDS)
        held = fold == k
        accepted = distances[held] < threshold
        val[k] = _share(accepted, same[held])
        far[k] = _share(accepted, ~same[held])
    return ValidationRate(float(val.mean()), float(val.std()), float(far.mean()))


def _below(distances: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many distances are below each threshold."""
    return np.searchsorted(np.sort(distances), thresholds, side="left")


def _share(accepted: np.ndarray, of: np.ndarray) -> float:
    return float((accepted & of).sum() / max(1, of.sum()))
