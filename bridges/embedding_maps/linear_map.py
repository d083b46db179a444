"""Affine maps between two spaces of embeddings: ridge regression, and Procrustes.

Both centre the source, multiply, add the mean of the target, and normalise.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import linalg

# Strengths of the ridge, as shares of the mean eigenvalue of the source's scatter.
STRENGTHS = 10.0 ** np.arange(-4, 1.5, 0.5)


class LinearMap(NamedTuple):
    """A map of rows.

    Attributes:
      matrix: ``[d, e]`` float64.
      source_mean: ``[d]``.
      target_mean: ``[e]``.
    """

    matrix: np.ndarray
    source_mean: np.ndarray
    target_mean: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Maps rows ``[n, d]`` to unit rows ``[n, e]`` float32."""
        moved = (np.asarray(rows, np.float64) - self.source_mean) @ self.matrix
        moved += self.target_mean
        norms = np.linalg.norm(moved, axis=1, keepdims=True)
        return (moved / np.maximum(norms, 1e-12)).astype(np.float32)


def ridge_maps(
    source: np.ndarray, target: np.ndarray, strengths: Sequence[float]
) -> Iterator[LinearMap]:
    """Ridge regressions of several strengths, by one decomposition.

    Each minimises ``‖(A − ā) W − (B − b̄)‖² + s·λ̄·‖W‖²``, ``λ̄`` the mean eigenvalue of
    the scatter ``(A − ā)ᵀ(A − ā)``.

    Args:
      source: ``[n, d]`` rows.
      target: ``[n, e]`` rows of the same images.
      strengths: ``s`` of each.
    """
    a_mean, b_mean = source.mean(0), target.mean(0)
    a, b = source - a_mean, target - b_mean
    values, vectors = linalg.eigh(a.T @ a)
    projected = vectors.T @ (a.T @ b)
    scale = max(float(values.mean()), 1e-12)
    for strength in strengths:
        shrunk = projected / (np.maximum(values, 0) + strength * scale)[:, None]
        yield LinearMap(vectors @ shrunk, a_mean, b_mean)


def fit_ridge(
    source: np.ndarray, target: np.ndarray, people: np.ndarray, folds: int = 5
) -> tuple[LinearMap, float]:
    """The ridge regression whose strength predicts people best that it has not seen.

    Args:
      source: ``[n, d]`` rows.
      target: ``[n, e]`` rows of the same images.
      people: ``[n]`` whole numbers: who is on each.
      folds: people are divided into as many.

    Returns:
      The map of all rows, and its strength: the largest sum of cosines over the folds.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    fold = people_folds(people, folds)
    gain = np.zeros(len(STRENGTHS))
    for k in range(folds):
        held = fold == k
        maps = ridge_maps(source[~held], target[~held], STRENGTHS)
        for number, each in enumerate(maps):
            gain[number] += (each(source[held]) * target[held]).sum()
    strength = float(STRENGTHS[gain.argmax()])
    (chosen,) = ridge_maps(source, target, [strength])
    return chosen, strength


def fit_procrustes(source: np.ndarray, target: np.ndarray) -> LinearMap:
    """The best scaled rotation, semi-orthogonal between spaces of other dimensions."""
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    a_mean, b_mean = source.mean(0), target.mean(0)
    a, b = source - a_mean, target - b_mean
    left, values, right = np.linalg.svd(a.T @ b, full_matrices=False)
    scale = values.sum() / max(float((a**2).sum()), 1e-12)
    return LinearMap(scale * left @ right, a_mean, b_mean)


def people_folds(people: np.ndarray, folds: int) -> np.ndarray:
    """A fold ``[n]`` for each row, all of a person in one, by a fixed shuffle."""
    _, number = np.unique(people, return_inverse=True)
    order = np.random.default_rng(0).permutation(number.max() + 1)
    return order[number] % folds
