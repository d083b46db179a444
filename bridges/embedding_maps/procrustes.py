"""The rotation between embeddings that fits best, to compare ridge regression with."""

import functools
from collections.abc import Sequence

import numpy as np

from bridges.embedding_maps.affine_map import AffineMap
from bridges.embedding_maps.moments import Moments
from bridges.embedding_maps.ridge import Fold


def fit_procrustes(folds: Sequence[Fold]) -> AffineMap:
    """The best rotation, with the best scale.

    Of all ``R`` with orthonormal rows or columns, whichever are fewer, the one that
    makes ``tr(Rᵀ AᵀB)`` largest (Schönemann 1966), scaled to the least squared error.

    Args:
      folds: sums over the pairs of each fold; all are fitted, to the same image, which
        suits rotations better than the person's others.
    """
    pairs = functools.reduce(Moments.plus, [fold.same for fold in folds])
    aa, ab = pairs.centred()
    left, gains, right = np.linalg.svd(ab, full_matrices=False)
    rotation = left @ right
    length = np.vdot(rotation, aa @ rotation)
    scale = gains.sum() / length if length > 0 else 0.0
    return AffineMap(scale * rotation, pairs.mean_a, pairs.mean_b)
