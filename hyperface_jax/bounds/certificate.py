"""Certificates: what a packing promises, checked again in double precision.

The descent and its searches work in float32. A promise, such as that no reference
comes nearer to an enrolled person than some cosine, is checked on the embeddings as
they are written: the float32 search names every pair that could break it, given the
bound on its rounding, and double precision decides.
"""

from typing import Any, NamedTuple

import numpy as np

from hyperface_jax.neighbours import similarity

_BLOCK = 1024


class LargestCosine(NamedTuple):
    """The nearest pair between two sets.

    Attributes:
      cosine: its cosine, in double precision.
      row: of the first set.
      other: of the second set.
      too_near: how many rows of the first set are beyond the limit.
    """

    cosine: float
    row: int
    other: int
    too_near: int


def largest_cosine(
    x: np.ndarray, others: np.ndarray, limit: float, *, block_size: int | None = None
) -> LargestCosine:
    """Finds the nearest pair, and the rows beyond a limit, in double precision.

    A float32 product of rows of length 1 is within ``d · 2^-23`` of the true one in
    whatever order it is summed, so rows further than that below both the limit and the
    largest can't matter, and the others are compared again with all.

    Args:
      x: ``[n, d]`` float32, rows of any length but zero.
      others: ``[m, d]`` float32, as well.
      limit: a cosine.
      block_size: side of the tiles of cosines; None takes what suits the device.
    """
    # The lengths of rows in files may be off by 1e-3, far more than rounding.
    exact = _unit(others)
    found = similarity.nearest(
        _unit(x).astype(np.float32),
        exact.astype(np.float32),
        block_size=block_size,
    )
    cosine = np.asarray(found.cosine, np.float64)
    error = x.shape[1] * 2.0**-23 + 1e-6
    matter = np.flatnonzero(cosine >= min(cosine.max() - 2 * error, limit - error))
    best, too_near = LargestCosine(-2.0, 0, 0, 0), 0
    for start in range(0, len(matter), _BLOCK):
        rows = matter[start : start + _BLOCK]
        largest, other = np.full(len(rows), -2.0), np.zeros(len(rows), int)
        for first in range(0, len(others), 8 * _BLOCK):
            c = _unit(x[rows]) @ exact[first : first + 8 * _BLOCK].T
            nearest = c.argmax(axis=1)
            value = np.take_along_axis(c, nearest[:, None], axis=1)[:, 0]
            other = np.where(value > largest, first + nearest, other)
            largest = np.maximum(value, largest)
        too_near += int(np.sum(largest > limit))
        top = int(largest.argmax())
        if largest[top] > best.cosine:
            best = LargestCosine(
                float(largest[top]), int(rows[top]), int(other[top]), 0
            )
    return best._replace(too_near=too_near)


def enrolled_certificate(
    references: np.ndarray,
    enrolled: np.ndarray,
    limit: float,
    *,
    num_fixed: int = 0,
    block_size: int | None = None,
) -> dict[str, Any]:
    """Certifies that references keep away from enrolled people, JSON-ready.

    Args:
      references: ``[n, d]`` float32, unit rows, all that are written.
      enrolled: ``[e, d]`` float32, unit rows.
      limit: the largest cosine allowed.
      num_fixed: how many references, the first, are of an earlier set and could not
        be moved.
      block_size: side of the tiles of cosines; None takes what suits the device.

    Returns:
      ``count`` of enrolled rows, ``limit``, ``kept``, ``max_cosine`` and the rows
      ``reference`` and ``enrolled`` that have it, ``too_near`` (references beyond the
      limit) and ``fixed_too_near`` (those of the earlier set).
    """
    found = largest_cosine(references, enrolled, limit, block_size=block_size)
    fixed_too_near = 0
    if num_fixed and found.too_near:
        fixed = references[:num_fixed]
        fixed_too_near = largest_cosine(
            fixed, enrolled, limit, block_size=block_size
        ).too_near
    return {
        "count": len(enrolled),
        "limit": limit,
        "kept": found.cosine <= limit,
        "max_cosine": found.cosine,
        "reference": found.row,
        "enrolled": found.other,
        "too_near": found.too_near,
        "fixed_too_near": fixed_too_near,
    }


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
