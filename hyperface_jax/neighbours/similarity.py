"""Nearest neighbours by cosine, exactly, on the devices in use.

On one device rows are searched in tiles (:mod:`local_nearest`); on several, blocks of
rows travel around a ring (:mod:`ring_nearest`). Equal cosines go to the lowest row, as
in ``numpy.argmax``.
"""

import chex
import jax
import jax.numpy as jnp

from hyperface_jax.devices import sharded
from hyperface_jax.neighbours import local_nearest, ring_nearest
from hyperface_jax.neighbours.local_nearest import Neighbors
from hyperface_jax.neighbours.precision import FLOAT32, Precision


def nearest(
    queries: jax.Array,
    rows: jax.Array,
    *,
    exclude: jax.Array | None = None,
    block_size: int | None = None,
    precision: Precision = FLOAT32,
) -> Neighbors:
    """Finds the row nearest to each query.

    Args:
      queries: ``[q, d]``, unit rows.
      rows: ``[m, d]``, unit rows.
      exclude: ``[q]`` integers, a row that each query must not find, such as itself.
      block_size: side of the tiles of cosines; None takes what suits the device, on a
        CPU about 1000 at most.
      precision: of the products.

    Returns:
      The neighbours, with the cosine of the runner-up: a query that moves by less
      than half of ``cosine - runner_up`` keeps its nearest row.
    """
    chex.assert_rank((queries, rows), 2)
    chex.assert_equal_shape_suffix((queries, rows), 1)
    if exclude is not None:
        chex.assert_shape(exclude, (len(queries),))
    if sharded.size() is not None:
        if exclude is None:
            exclude = jnp.full(len(queries), -1)
        return ring_nearest.nearest(
            queries, rows, exclude, block_size=block_size, precision=precision
        )
    return local_nearest.nearest(
        queries, rows, exclude, block_size=block_size, precision=precision
    )


def nearest_other(
    rows: jax.Array,
    *,
    block_size: int | None = None,
    precision: Precision = FLOAT32,
) -> tuple[jax.Array, jax.Array]:
    """Finds, for each row, the nearest *other* row.

    The tiles above the diagonal serve both sides, so this takes half the products
    that :func:`nearest` would.

    Args:
      rows: ``[n, d]``, unit rows, ``n >= 2``.
      block_size: side of the tiles of cosines; None takes what suits the device, on a
        CPU about 1000 at most.
      precision: of the products.

    Returns:
      Cosines ``[n]`` and rows ``[n]`` int32.
    """
    chex.assert_rank(rows, 2)
    if sharded.size() is not None:
        return ring_nearest.nearest_other(
            rows, block_size=block_size, precision=precision
        )
    return local_nearest.nearest_other(rows, block_size=block_size, precision=precision)


def nearest_cosine(
    rows: jax.Array,
    *,
    block_size: int | None = None,
    precision: Precision = FLOAT32,
) -> jax.Array:
    """Finds the cosine of each row to the nearest *other* row, not which row it is.

    Args:
      rows: ``[n, d]``, unit rows, ``n >= 2``.
      block_size: side of the tiles of cosines; None takes what suits the device, on a
        CPU about 1000 at most.
      precision: of the products.

    Returns:
      Cosines ``[n]``.
    """
    chex.assert_rank(rows, 2)
    if sharded.size() is not None:
        found = nearest_other(rows, block_size=block_size, precision=precision)
        return found[0]
    return local_nearest.nearest_cosine(
        rows, block_size=block_size, precision=precision
    )
