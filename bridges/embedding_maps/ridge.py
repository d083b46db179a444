"""Ridge regression between embeddings, its strength chosen by cross-validation."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bridges.embedding_maps.affine_map import AffineMap
from bridges.embedding_maps.moments import Moments

# Relative to the mean variance of a direction, so they mean the same for any n and p.
STRENGTHS = tuple(float(10**power) for power in np.arange(-4.0, 2.1, 0.5))


class Ridge(NamedTuple):
    """A fitted map.

    Attributes:
      map: the map.
      strength: the one chosen of :data:`STRENGTHS`.
      errors: the held-out mean squared error of each.
    """

    map: AffineMap
    strength: float
    errors: np.ndarray


def ridge_path(
    pairs: Moments, strengths: Sequence[float] = STRENGTHS
) -> Iterator[AffineMap]:
    """Ridge solutions of several strengths, from one decomposition.

    Of strength ``s`` is the map that minimises ``|B - A M|² + λ |M|²`` over pairs less
    their means, with ``λ = s tr(AᵀA) / p``.

    Args:
      pairs: sums over the pairs to fit.
      strengths: positive.

    Yields:
      The map of each.
    """
    aa, ab = pairs.centred()
    values, vectors = np.linalg.eigh(aa)
    # Rounding leaves directions without variance slightly below zero.
    values = np.maximum(values, 0)
    turned = vectors.T @ ab
    for strength in strengths:
        weights = values + strength * values.mean()
        # Rows that are all equal have no variance: the mean is all there is to map to.
        shrunk = np.divide(
            turned, weights[:, None], np.zeros_like(turned), where=weights[:, None] > 0
        )
        yield AffineMap(vectors @ shrunk, pairs.mean_a, pairs.mean_b)


def fit_ridge(folds: Sequence[Moments]) -> Ridge:
    """Fits all folds, of the strength that errs least on folds left out.

    Args:
      folds: sums over the pairs of each fold, at least two, none of them empty.
    """
    errors = np.zeros(len(STRENGTHS))
    for left_out, fold in enumerate(folds):
        rest = functools.reduce(Moments.plus, without(folds, left_out))
        errors += [fold.count * found.squared_error(fold) for found in ridge_path(rest)]
    errors /= sum(fold.count for fold in folds)
    strength = STRENGTHS[int(errors.argmin())]
    every = functools.reduce(Moments.plus, folds)
    return Ridge(next(ridge_path(every, [strength])), strength, errors)


def without(folds: Sequence[Moments], left_out: int) -> list[Moments]:
    """All folds but one."""
    return [fold for number, fold in enumerate(folds) if number != left_out]
