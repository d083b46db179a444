"""Nearest neighbours by cosine, exactly, in blocks.

Nothing here ever holds an ``n × n`` array: memory is a few tiles of
``block_size × block_size`` cosines beside the rows themselves. Products are taken at
float32 precision on every device (``Precision.HIGHEST``; a GPU would otherwise round
its inputs to 10 bits of mantissa). Equal cosines go to the lowest row, as in
``numpy.argmax``.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

DEFAULT_BLOCK_SIZE = 512
# Below every cosine, and finite: infinities would turn into NaN under subtraction.
MASKED = -4.0


class Neighbors(NamedTuple):
    """The nearest row to each query.

    Attributes:
      cosine: ``[q]``, the largest cosine.
      row: ``[q]`` int32, the row that has it.
      runner_up: ``[q]``, the largest cosine among all other rows, or -4 without any.
    """

    cosine: jax.Array
    row: jax.Array
    runner_up: jax.Array


def cosines(a: jax.Array, b: jax.Array) -> jax.Array:
    """Cosines ``[p, q]`` between unit rows ``a`` ``[p, d]`` and ``b`` ``[q, d]``."""
    return jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)


def fit_block_size(block_size: int | None, rows: int) -> int:
    """The block size to use for ``rows`` rows: the default, never more than needed."""
    return min(block_size or DEFAULT_BLOCK_SIZE, max(rows, 1))


def to_blocks(x: jax.Array, block_size: int) -> jax.Array:
    """Splits ``[n, ...]`` in ``[blocks, block_size, ...]``, the tail padded with 0."""
    padding = -len(x) % block_size
    x = jnp.pad(x, [(0, padding)] + [(0, 0)] * (x.ndim - 1))
    return x.reshape(-1, block_size, *x.shape[1:])


def nearest(
    queries: jax.Array,
    rows: jax.Array,
    *,
    exclude: jax.Array | None = None,
    block_size: int | None = None,
) -> Neighbors:
    """Finds the row nearest to each query.

    Args:
      queries: ``[q, d]``, unit rows.
      rows: ``[m, d]``, unit rows.
      exclude: ``[q]`` integers, a row that each query must not find, such as itself.
      block_size: side of the tiles of cosines; None takes 512.

    Returns:
      The neighbours, with the cosine of the runner-up: a query that moves by less
      than half of ``cosine - runner_up`` keeps its nearest row.
    """
    if exclude is None:
        exclude = jnp.full(len(queries), -1)
    return _nearest(
        queries,
        rows,
        exclude,
        fit_block_size(block_size, len(queries)),
        fit_block_size(block_size, len(rows)),
    )


def nearest_other(
    rows: jax.Array, *, block_size: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """Finds, for each row, the nearest *other* row.

    The tiles above the diagonal serve both sides, so this takes half the products
    that :func:`nearest` would.

    Args:
      rows: ``[n, d]``, unit rows, ``n >= 2``.
      block_size: side of the tiles of cosines; None takes 512.

    Returns:
      Cosines ``[n]`` and rows ``[n]`` int32.
    """
    return _nearest_other(rows, fit_block_size(block_size, len(rows)))


@functools.partial(jax.jit, static_argnums=(3, 4))
def _nearest(
    queries: jax.Array,
    rows: jax.Array,
    exclude: jax.Array,
    query_block: int,
    row_block: int,
) -> Neighbors:
    blocks = to_blocks(rows, row_block)
    starts = jnp.arange(len(blocks)) * row_block

    def of_query_block(group: tuple[jax.Array, jax.Array]) -> Neighbors:
        block, excluded = group
        none = jnp.full(len(block), MASKED)

        def visit(best: Neighbors, tile: tuple) -> tuple[Neighbors, None]:
            columns, start = tile
            row = start + jnp.arange(row_block)
            valid = (row < len(rows)) & (row != excluded[:, None])
            c = jnp.where(valid, cosines(block, columns), MASKED)
            return _merge(best, _best_two(c, start)), None

        start = Neighbors(none, jnp.zeros(len(block), jnp.int32), none)
        return jax.lax.scan(visit, start, (blocks, starts))[0]

    groups = to_blocks(queries, query_block), to_blocks(exclude, query_block)
    found = jax.lax.map(of_query_block, groups)
    return jax.tree.map(lambda a: a.reshape(-1)[: len(queries)], found)


@functools.partial(jax.jit, static_argnums=1)
def _nearest_other(rows: jax.Array, block_size: int) -> tuple[jax.Array, jax.Array]:
    blocks = to_blocks(rows, block_size)
    # Row-major order over the upper triangle: each row meets its columns in rising
    # order, first from above the diagonal, so that the first of equals is the lowest.
    tiles = jnp.asarray(np.stack(np.triu_indices(len(blocks)), axis=1))
    within = jnp.arange(block_size)

    def visit(best: tuple, tile: jax.Array) -> tuple[tuple, None]:
        i, j = tile
        c = cosines(blocks[i], blocks[j])
        first = (i * block_size + within)[:, None]
        second = (j * block_size + within)[None, :]
        # Both sides: the transposed tile would see the padding of the first.
        valid = (first != second) & (first < len(rows)) & (second < len(rows))
        c = jnp.where(valid, c, MASKED)
        best = _improve(best, j, _best(c.T, i * block_size))
        return _improve(best, i, _best(c, j * block_size)), None

    start = (
        jnp.full((len(blocks), block_size), MASKED),
        jnp.zeros((len(blocks), block_size), jnp.int32),
    )
    (cosine, row), _ = jax.lax.scan(visit, start, tiles)
    return cosine.reshape(-1)[: len(rows)], row.reshape(-1)[: len(rows)]


def _best(c: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Largest entry of each row of a tile, and its column counted from ``start``."""
    cosine = jnp.max(c, axis=1)
    # A maximum and a minimum vectorise; an argmax, on the CPU, does not.
    column = jnp.where(c == cosine[:, None], jnp.arange(c.shape[1]), c.shape[1])
    return cosine, (start + jnp.min(column, axis=1)).astype(jnp.int32)


def _best_two(c: jax.Array, start: jax.Array) -> Neighbors:
    cosine, row = _best(c, start)
    others = jnp.where(start + jnp.arange(c.shape[1]) == row[:, None], MASKED, c)
    return Neighbors(cosine, row, jnp.max(others, axis=1))


def _merge(a: Neighbors, b: Neighbors) -> Neighbors:
    """The better of two, ``a`` having seen the lower rows."""
    better = b.cosine > a.cosine
    return Neighbors(
        jnp.where(better, b.cosine, a.cosine),
        jnp.where(better, b.row, a.row),
        jnp.maximum(
            jnp.minimum(a.cosine, b.cosine), jnp.maximum(a.runner_up, b.runner_up)
        ),
    )


def _improve(best: tuple, block: jax.Array, found: tuple) -> tuple:
    cosine, row = best
    better = found[0] > cosine[block]
    return (
        cosine.at[block].set(jnp.where(better, found[0], cosine[block])),
        row.at[block].set(jnp.where(better, found[1], row[block])),
    )
