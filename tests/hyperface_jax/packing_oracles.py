"""Packing written again the plain way: dense, in NumPy and double precision."""

from typing import NamedTuple

import numpy as np

# Cosines of unit rows in float32 are less than half of this off.
TIE = 2e-6


def random_rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    """``[n, d]`` float32 random unit rows."""
    rows = np.random.default_rng(seed).standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered_rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    """``[n, d]`` float32 unit rows about a common direction, as faces are."""
    rows = random_rows(n, d, seed).astype(np.float64)
    rows[:, 0] += 1.0
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def dense_objective(
    x: np.ndarray, gallery: np.ndarray, alpha: float, reduction: str
) -> float:
    """``J`` from the full matrices of cosines."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    distance = 1 - x @ x.T
    np.fill_diagonal(distance, np.inf)
    nearest = distance.min(axis=1)
    spread = nearest.min() if reduction == "min" else nearest.mean()
    return -spread + alpha * (1 - x @ gallery.T).min(axis=1).mean()


def dense_gradient(
    x: np.ndarray, gallery: np.ndarray, alpha: float, reduction: str
) -> np.ndarray:
    """The gradient of :func:`dense_objective` at unit rows, by hand."""
    n = len(x)
    cosine = x @ x.T
    np.fill_diagonal(cosine, -np.inf)
    weights = np.zeros((n, n))
    if reduction == "min":
        weights[np.unravel_index(cosine.argmax(), cosine.shape)] = 1.0
    else:
        weights[np.arange(n), cosine.argmax(axis=1)] = 1.0 / n
    gradient = (weights + weights.T) @ x
    gradient -= alpha / n * gallery[(x @ gallery.T).argmax(axis=1)]
    return gradient - np.sum(gradient * x, axis=1, keepdims=True) * x


class AdamState(NamedTuple):
    """Rows and Adam's state of each, in double precision.

    Attributes:
      rows: ``[n, d]``, unit rows.
      mean: ``[n, d]``, the running mean of the gradient.
      square: ``[n, d]``, that of its square.
      count: how many steps were taken.
    """

    rows: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    count: int


def dense_algorithm1(
    x: np.ndarray, gallery: np.ndarray, *, iterations: int
) -> tuple[np.ndarray, list[float]]:
    """A few steps of Algorithm 1, and the objective before each.

    Many are no oracle: one rounding decides which of two pairs is nearer, and from
    then on two descents go different ways. See :func:`check_adam_step`.
    """
    x, gallery = x.astype(np.float64), gallery.astype(np.float64)
    state, objectives = AdamState(x, 0 * x, 0 * x, 0), []
    for _ in range(iterations):
        objectives.append(dense_objective(state.rows, gallery, 0.5, "min"))
        mean, square = _moments(state, dense_gradient(state.rows, gallery, 0.5, "min"))
        count = state.count + 1
        rows = _moved(state.rows, mean, square, count, rate=0.01)
        state = AdamState(rows, mean, square, count)
    return state.rows, objectives


def is_decided(x: np.ndarray, gallery: np.ndarray, reduction: str) -> np.ndarray:
    """``[n]``: whether rounding has no say in which pairs the gradient of a row is of.

    Of two cosines nearer to each other than ``TIE`` either may be found the larger in
    float32, and the gradient of whoever is in one of such pairs is then either's.
    """
    cosine = x @ x.T
    np.fill_diagonal(cosine, -np.inf)
    best = cosine.max() if reduction == "min" else cosine.max(axis=1, keepdims=True)
    near = cosine > best - TIE
    if reduction == "min":
        doubtful = near.any(axis=1) if near.sum() > 2 else np.zeros(len(x), bool)
    else:
        several = near.sum(axis=1) > 1
        doubtful = several | near[several].any(axis=0)
    pull = np.sort(x @ gallery.T, axis=1)
    return ~doubtful & (pull[:, -1] - pull[:, -2] > TIE)


def check_adam_step(
    before: AdamState,
    after: AdamState,
    gallery: np.ndarray,
    *,
    rate: float,
    reduction: str,
    alpha: float = 0.5,
) -> np.ndarray:
    """Compares one step of Algorithm 1 with the dense formulas, from the same state.

    The moments are compared with those of the dense gradient, and the rows with those
    that their own moments lead to: Adam divides a gradient by its own size, so of one
    that nearly vanishes the rounding alone would move a row as far as all of another.

    Returns:
      ``[n]``: which rows were compared; in the others rounding decides, see
      :func:`is_decided`.
    """
    assert after.count == before.count + 1
    gradient = dense_gradient(before.rows, gallery, alpha, reduction)
    compared = is_decided(before.rows, gallery, reduction)
    mean, square = _moments(before, gradient)
    np.testing.assert_allclose(
        after.mean[compared], mean[compared], rtol=1e-6, atol=3e-8
    )
    np.testing.assert_allclose(
        after.square[compared], square[compared], rtol=1e-5, atol=1e-11
    )
    rows = _moved(before.rows, after.mean, after.square, after.count, rate)
    # In float32, 1 - 0.999 is off by 5e-5 of itself, and so the first step by half.
    np.testing.assert_allclose(after.rows, rows, atol=5e-7 + 3e-5 * rate)
    return compared


def _moments(before: AdamState, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Adam's running means after one more gradient."""
    mean = 0.9 * before.mean + 0.1 * gradient
    return mean, 0.999 * before.square + 0.001 * gradient**2


def _moved(
    rows: np.ndarray, mean: np.ndarray, square: np.ndarray, count: int, rate: float
) -> np.ndarray:
    """The rows after Adam's step number ``count``, back on the sphere."""
    unbiased = mean / (1 - 0.9**count)
    rows = rows - rate * unbiased / (np.sqrt(square / (1 - 0.999**count)) + 1e-8)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
