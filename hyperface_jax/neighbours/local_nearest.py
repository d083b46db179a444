"""Nearest neighbours on one device: the kernels that search tile by tile.

Equal cosines go to the lowest row, as in ``numpy.argmax``.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hyperface_jax.neighbours import tiles
from hyperface_jax.neighbours.precision import Precision
from hyperface_jax.neighbours.tiles import MASKED


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


@functools.partial(jax.jit, static_argnames=("block_size", "precision"))
def nearest(
    queries: jax.Array,
    rows: jax.Array,
    exclude: jax.Array | None,
    *,
    block_size: int | None,
    precision: Precision,
) -> Neighbors:
    """:func:`hyperface_jax.neighbours.similarity.nearest` on one device."""
    query_block = tiles.even_block_size(block_size, len(queries))
    row_block = tiles.even_block_size(block_size, len(rows))
    # Whole blocks, then the remainder, so that no padding needs a mask.
    rest = len(rows) % row_block
    starts = jnp.arange(0, len(rows) - rest, row_block, dtype=jnp.int32)

    def of_query_block(group: tuple[jax.Array, jax.Array | None]) -> Neighbors:
        block, excluded = group

        def visit(best: Neighbors, start: Any, size: int) -> Neighbors:
            columns = jax.lax.dynamic_slice_in_dim(rows, start, size)
            c = tiles.cosines(block, columns, precision)
            if excluded is not None:
                row = start + jnp.arange(size)
                c = jnp.where(row[None, :] != excluded[:, None], c, MASKED)
            return _merge(best, _best_two(c, start))

        none = jnp.full(len(block), MASKED)
        best = Neighbors(none, jnp.zeros(len(block), jnp.int32), none)
        best, _ = jax.lax.scan(
            lambda best, start: (visit(best, start, row_block), None), best, starts
        )
        return visit(best, jnp.int32(len(rows) - rest), rest) if rest else best

    groups = jax.tree.map(lambda a: tiles.to_blocks(a, query_block), (queries, exclude))
    found = jax.lax.map(of_query_block, groups)
    return jax.tree.map(lambda a: a.reshape(-1)[: len(queries)], found)


@functools.partial(jax.jit, static_argnames=("block_size", "precision"))
def nearest_other(
    rows: jax.Array, *, block_size: int | None, precision: Precision
) -> tuple[jax.Array, jax.Array]:
    """:func:`hyperface_jax.neighbours.similarity.nearest_other` on one device."""
    size = tiles.even_block_size(block_size, len(rows))

    def visit(best: tuple, i: jax.Array, j: jax.Array, c: jax.Array) -> tuple:
        best = _improve(best, j, _best(c, i * size, axis=0))
        return _improve(best, i, _best(c, j * size, axis=1))

    shape = -(-len(rows) // size), size
    best = jnp.full(shape, MASKED), jnp.zeros(shape, jnp.int32)
    cosine, row = tiles.visit_pairs(visit, best, rows, size, precision)
    return cosine.reshape(-1)[: len(rows)], row.reshape(-1)[: len(rows)]


@functools.partial(jax.jit, static_argnames=("block_size", "precision"))
def nearest_cosine(
    rows: jax.Array, *, block_size: int | None, precision: Precision
) -> jax.Array:
    """:func:`hyperface_jax.neighbours.similarity.nearest_cosine` on one device."""
    size = tiles.even_block_size(block_size, len(rows))

    def visit(best: jax.Array, i: jax.Array, j: jax.Array, c: jax.Array) -> jax.Array:
        best = best.at[j].max(jnp.max(c, axis=0))
        return best.at[i].max(jnp.max(c, axis=1))

    best = jnp.full((-(-len(rows) // size), size), MASKED)
    best = tiles.visit_pairs(visit, best, rows, size, precision)
    return best.reshape(-1)[: len(rows)]


def _best(c: jax.Array, start: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Largest entry of a tile along ``axis``, and its place counted from ``start``."""
    cosine = jnp.max(c, axis=axis)
    # Maximum and minimum vectorise on the CPU; argmax does not.
    place = jax.lax.broadcasted_iota(jnp.int32, c.shape, axis)
    place = jnp.where(c == jnp.expand_dims(cosine, axis), place, c.shape[axis])
    return cosine, (start + jnp.min(place, axis=axis)).astype(jnp.int32)


def _best_two(c: jax.Array, start: jax.Array) -> Neighbors:
    cosine, row = _best(c, start, axis=1)
    place = start + jnp.arange(c.shape[1])
    others = jnp.where(place[None, :] == row[:, None], MASKED, c)
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
    """Takes what is better, or equal and of a lower row: tiles come in any order."""
    cosine, row = best[0][block], best[1][block]
    better = (found[0] > cosine) | ((found[0] == cosine) & (found[1] < row))
    return (
        best[0].at[block].set(jnp.where(better, found[0], cosine)),
        best[1].at[block].set(jnp.where(better, found[1], row)),
    )
