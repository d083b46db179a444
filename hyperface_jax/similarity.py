"""Nearest neighbours by cosine, exactly, in blocks.

Nothing here ever holds an ``n × n`` array: memory is a few tiles of
``block_size × block_size`` cosines beside the rows themselves. Products are taken at
float32 precision on every device (``Precision.HIGHEST``; a GPU would otherwise round
its inputs to 10 bits of mantissa). Equal cosines go to the lowest row, as in
``numpy.argmax``.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperface_jax import sharded

DEFAULT_BLOCK_SIZE = 512
# Wide enough to keep two cores at their product, for which 300 are too few; but of few
# rows, where the tiles on the diagonal hold every pair twice, a smaller share. On other
# devices a tile must be worth starting a kernel for.
_SEARCHED_TILE = 1000
_SMALL_TILE = 304
_TILES_A_SIDE = 8
_SEARCHED_TILE_ELSEWHERE = 2048
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
    """Cosines ``[p, q]`` between unit rows ``a`` ``[p, d]`` and ``b`` ``[q, d]``.

    They are summed in float32, also of bfloat16 rows.
    """
    return jnp.matmul(
        a,
        b.T,
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )


def fit_block_size(block_size: int | None, rows: int) -> int:
    """The block size to use for ``rows`` rows: the default, never more than needed."""
    return min(block_size or DEFAULT_BLOCK_SIZE, max(rows, 1))


def even_block_size(block_size: int | None, rows: int) -> int:
    """The side of tiles that are searched: of blocks that leave next to no padding.

    Args:
      block_size: what was asked for, or None for a size that suits the device.
      rows: how many there are.
    """
    if block_size is not None or rows == 0:
        return fit_block_size(block_size, rows)
    side = _SEARCHED_TILE_ELSEWHERE
    if jax.default_backend() == "cpu":
        side = min(max(rows // _TILES_A_SIDE, _SMALL_TILE), _SEARCHED_TILE)
    blocks = max(1, round(rows / side))
    # Whole blocks if there are any of about that size: padding must be copied and
    # masked. In any case rows of whole vectors.
    for near in range(blocks - blocks // 5, blocks + blocks // 5 + 1):
        if rows % (8 * near) == 0:
            return rows // near
    return min(rows, -(-rows // (16 * blocks)) * 16)


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
    screening: bool = False,
) -> Neighbors:
    """Finds the row nearest to each query.

    Args:
      queries: ``[q, d]``, unit rows.
      rows: ``[m, d]``, unit rows.
      exclude: ``[q]`` integers, a row that each query must not find, such as itself.
      block_size: side of the tiles of cosines; None takes what suits the device, on a
        CPU about 1000 at most.
      screening: compare in bfloat16 first and in float32 where that leaves a doubt,
        see :mod:`hyperface_jax.screening`. The rows are the same; the runner-up may be
        overestimated. Has no effect over many devices.

    Returns:
      The neighbours, with the cosine of the runner-up: a query that moves by less
      than half of ``cosine - runner_up`` keeps its nearest row.
    """
    if sharded.size() is not None:
        # Imported late: it builds on this module.
        from hyperface_jax import ring_nearest

        if exclude is None:
            exclude = jnp.full(len(queries), -1)
        return ring_nearest.nearest(queries, rows, exclude, block_size=block_size)
    if screening:
        from hyperface_jax import screening as screened

        return screened.nearest(
            queries, rows, exclude=exclude, block_size=block_size
        ).neighbors
    return _nearest(
        queries,
        rows,
        exclude,
        even_block_size(block_size, len(queries)),
        even_block_size(block_size, len(rows)),
    )


def nearest_other(
    rows: jax.Array, *, block_size: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """Finds, for each row, the nearest *other* row.

    The tiles above the diagonal serve both sides, so this takes half the products
    that :func:`nearest` would.

    Args:
      rows: ``[n, d]``, unit rows, ``n >= 2``.
      block_size: side of the tiles of cosines; None takes what suits the device, on a
        CPU about 1000 at most.

    Returns:
      Cosines ``[n]`` and rows ``[n]`` int32.
    """
    if sharded.size() is not None:
        from hyperface_jax import ring_nearest

        return ring_nearest.nearest_other(rows, block_size=block_size)
    return _nearest_other(rows, even_block_size(block_size, len(rows)))


def nearest_cosine(rows: jax.Array, *, block_size: int | None = None) -> jax.Array:
    """Finds how near the nearest *other* row of each is, but not which it is.

    Args:
      rows: ``[n, d]``, unit rows, ``n >= 2``.
      block_size: side of the tiles of cosines; None takes what suits the device, on a
        CPU about 1000 at most.

    Returns:
      Cosines ``[n]``.
    """
    if sharded.size() is not None:
        return nearest_other(rows, block_size=block_size)[0]
    return _nearest_cosine(rows, even_block_size(block_size, len(rows)))


@functools.partial(jax.jit, static_argnums=(3, 4))
def _nearest(
    queries: jax.Array,
    rows: jax.Array,
    exclude: jax.Array | None,
    query_block: int,
    row_block: int,
) -> Neighbors:
    # Whole blocks, then the rest as it is: no padding to tell apart from rows.
    rest = len(rows) % row_block
    starts = jnp.arange(0, len(rows) - rest, row_block, dtype=jnp.int32)

    def of_query_block(group: tuple[jax.Array, jax.Array | None]) -> Neighbors:
        block, excluded = group

        def visit(best: Neighbors, start: Any, size: int) -> Neighbors:
            c = cosines(block, jax.lax.dynamic_slice_in_dim(rows, start, size))
            if excluded is not None:
                row = start + jnp.arange(size)
                c = jnp.where(row != excluded[:, None], c, MASKED)
            return _merge(best, _best_two(c, start))

        none = jnp.full(len(block), MASKED)
        best = Neighbors(none, jnp.zeros(len(block), jnp.int32), none)
        best, _ = jax.lax.scan(
            lambda best, start: (visit(best, start, row_block), None), best, starts
        )
        return visit(best, jnp.int32(len(rows) - rest), rest) if rest else best

    groups = jax.tree.map(lambda a: to_blocks(a, query_block), (queries, exclude))
    found = jax.lax.map(of_query_block, groups)
    return jax.tree.map(lambda a: a.reshape(-1)[: len(queries)], found)


@functools.partial(jax.jit, static_argnums=1)
def _nearest_other(rows: jax.Array, block_size: int) -> tuple[jax.Array, jax.Array]:
    def visit(best: tuple, i: jax.Array, j: jax.Array, c: jax.Array) -> tuple:
        best = _improve(best, j, _best(c, i * block_size, axis=0))
        return _improve(best, i, _best(c, j * block_size, axis=1))

    shape = -(-len(rows) // block_size), block_size
    best = jnp.full(shape, MASKED), jnp.zeros(shape, jnp.int32)
    cosine, row = visit_pairs(visit, best, rows, block_size)
    return cosine.reshape(-1)[: len(rows)], row.reshape(-1)[: len(rows)]


@functools.partial(jax.jit, static_argnums=1)
def _nearest_cosine(rows: jax.Array, block_size: int) -> jax.Array:
    def visit(best: jax.Array, i: jax.Array, j: jax.Array, c: jax.Array) -> jax.Array:
        best = best.at[j].max(jnp.max(c, axis=0))
        return best.at[i].max(jnp.max(c, axis=1))

    best = jnp.full((-(-len(rows) // block_size), block_size), MASKED)
    best = visit_pairs(visit, best, rows, block_size)
    return best.reshape(-1)[: len(rows)]


def visit_pairs(visit: Callable, found: Any, rows: jax.Array, block_size: int) -> Any:
    """Calls ``visit(found, i, j, cosines)`` for the tiles on and above the diagonal.

    ``i`` and ``j`` are the numbers of the tile's blocks of rows; what is no pair of two
    rows is masked.
    """
    n = len(rows)
    blocks = to_blocks(rows, block_size)
    first, second = np.triu_indices(len(blocks))
    padded = (second == len(blocks) - 1) & (n % block_size > 0)
    masked = (first == second) | padded
    within = jnp.arange(block_size)

    def visit_tile(found: Any, tile: jax.Array, mask: bool) -> tuple[Any, None]:
        i, j = tile
        c = cosines(blocks[i], blocks[j])
        if mask:
            row = (i * block_size + within)[:, None]
            column = (j * block_size + within)[None, :]
            c = jnp.where((row != column) & (row < n) & (column < n), c, MASKED)
        return visit(found, i, j, c), None

    # Most tiles need no mask, and a mask costs as much as the search itself.
    for mask in (False, True):
        tiles = np.stack([first, second], axis=1)[masked == mask]
        visit_all = functools.partial(visit_tile, mask=mask)
        found, _ = jax.lax.scan(visit_all, found, jnp.asarray(tiles), unroll=2)
    return found


def _best(c: jax.Array, start: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Largest entry of a tile along ``axis``, and its place counted from ``start``."""
    cosine = jnp.max(c, axis=axis)
    # A maximum and a minimum vectorise; an argmax, on the CPU, does not.
    place = jax.lax.broadcasted_iota(jnp.int32, c.shape, axis)
    place = jnp.where(c == jnp.expand_dims(cosine, axis), place, c.shape[axis])
    return cosine, (start + jnp.min(place, axis=axis)).astype(jnp.int32)


def _best_two(c: jax.Array, start: jax.Array) -> Neighbors:
    cosine, row = _best(c, start, axis=1)
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
    """Takes what is better, or equal and of a lower row: tiles come in any order."""
    cosine, row = best[0][block], best[1][block]
    better = (found[0] > cosine) | ((found[0] == cosine) & (found[1] < row))
    return (
        best[0].at[block].set(jnp.where(better, found[0], cosine)),
        best[1].at[block].set(jnp.where(better, found[1], row)),
    )
