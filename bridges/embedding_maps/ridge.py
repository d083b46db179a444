"""Ridge regression between embeddings, its strength chosen by cross-validation."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from bridges.embedding_maps.affine_map import AffineMap
from bridges.embedding_maps.moments import Moments

T = TypeVar("T")
# Relative to the mean variance of a direction, so they mean the same for any n and p.
STRENGTHS = tuple(float(10**power) for power in np.arange(-4.0, 2.1, 0.5))


class Fold(NamedTuple):
    """Some people's pairs, with two targets; see :mod:`bridges.embedding_maps.targets`.

    Attributes:
      same: each row with the target row of the same image.
      others: with the mean of those of the person's other images.
    """

    same: Moments
    others: Moments


class Ridge(NamedTuple):
    """A fitted map.

    Attributes:
      map: the map.
      strength: the one chosen of :data:`STRENGTHS`.
      fitted_to: the target chosen, a field of :class:`Fold`.
      errors: ``[2, s]``, the held-out mean squared error of each strength, fitted to
        the same image and to others.
    """

    map: AffineMap
    strength: float
    fitted_to: str
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


def fit_ridge(folds: Sequence[Fold]) -> Ridge:
    """Fits all folds, with the strength and to the target that err least.

    The error is that to the person's other images, on folds left out. Of many people
    the other images are the better target; of few people with many images each there
    are too few of them, and the same image teaches more.

    Args:
      folds: sums over the pairs of each fold, at least two, none of them empty.
    """
    errors = np.zeros((len(Fold._fields), len(STRENGTHS)))
    for left_out, fold in enumerate(folds):
        rest = without(folds, left_out)
        for target, pairs in enumerate(zip(*rest, strict=True)):
            path = ridge_path(functools.reduce(Moments.plus, pairs))
            errors[target] += [
                fold.others.count * found.squared_error(fold.others) for found in path
            ]
    errors /= sum(fold.others.count for fold in folds)
    target, place = np.unravel_index(errors.argmin(), errors.shape)
    every = functools.reduce(Moments.plus, [fold[target] for fold in folds])
    return Ridge(
        next(ridge_path(every, [STRENGTHS[place]])),
        STRENGTHS[place],
        Fold._fields[target],
        errors,
    )


def without(folds: Sequence[T], left_out: int) -> list[T]:
    """All folds but one."""
    return [fold for number, fold in enumerate(folds) if number != left_out]
