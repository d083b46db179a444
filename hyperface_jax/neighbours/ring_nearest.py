"""Nearest neighbours over many devices: the kernels of :mod:`.similarity` there.

Of equal cosines the lowest row is found, in whatever order blocks meet. Cosines are
those of one device to float32 rounding, so where two differ by less, a device count
may turn them around.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from hyperface_jax.devices import sharded
from hyperface_jax.devices.sharded import AXIS
from hyperface_jax.neighbours import ring, tiles
from hyperface_jax.neighbours.local_nearest import Neighbors
from hyperface_jax.neighbours.precision import FLOAT32, Precision
from hyperface_jax.neighbours.tiles import MASKED

Found = tuple[jax.Array, jax.Array]
# Larger than all rows: what a query has found before it has met any.
_NO_ROW = 2**31 - 1


def nearest(
    queries: jax.Array,
    rows: jax.Array,
    exclude: jax.Array,
    *,
    block_size: int | None,
    precision: Precision = FLOAT32,
    wanted: jax.Array | None = None,
) -> Neighbors:
    """:func:`hyperface_jax.neighbours.similarity.nearest`; the smaller side travels.

    Outside of compiled functions arrays come from the host, and neighbours return
    there as NumPy arrays.

    Args:
      queries: ``[q, d]``, unit rows.
      rows: ``[m, d]``, unit rows.
      exclude: ``[q]`` integers, a row that each query must not find.
      block_size: side of the tiles of cosines; None takes what suits the device.
      precision: of the products.
      wanted: ``[q]`` booleans: the others may find nothing. None is all.

    Returns:
      The neighbours.
    """
    if not isinstance(queries, jax.core.Tracer):
        search = functools.partial(nearest, block_size=block_size, precision=precision)
        return sharded.from_host(search)(queries, rows, exclude)
    everyone = jnp.ones(len(queries), bool)
    search = functools.partial(
        _search, count=len(rows), block_size=block_size, precision=precision
    )
    none = jnp.full(len(queries), MASKED)
    best = Neighbors(none, jnp.full(len(queries), _NO_ROW, jnp.int32), none)

    def pass_queries(asked: tuple, best: Neighbors, rows: jax.Array) -> Neighbors:
        me = jax.lax.axis_index(AXIS)

        def visit(rows: jax.Array, traveller: tuple, home: jax.Array) -> tuple:
            del home
            asked, best = traveller
            return rows, (asked, search(best, asked, rows, me))

        return ring.around(visit, rows, (asked, best))[1][1]

    def pass_rows(asked: tuple, best: Neighbors, rows: jax.Array) -> Neighbors:
        def visit(best: Neighbors, rows: jax.Array, home: jax.Array) -> tuple:
            return search(best, asked, rows, home), rows

        return ring.around(visit, best, rows)[0]

    passed = pass_queries if len(queries) < len(rows) else pass_rows

    def body(asked: tuple, best: Neighbors, rows: jax.Array) -> Neighbors:
        # Wanted queries first, so that few blocks hold any.
        order = jnp.argsort(~asked[-1])
        found = passed(jax.tree.map(lambda a: a[order], asked), best, rows)
        return jax.tree.map(lambda a: a[jnp.argsort(order)], found)

    found = ring.over_devices(
        passed if wanted is None else body,
        ((queries, exclude, everyone if wanted is None else wanted), best, rows),
        count=len(queries),
    )
    # Row 0 where nothing matches, like the single-device search.
    return found._replace(row=jnp.where(found.row == _NO_ROW, 0, found.row))


def nearest_other(
    rows: jax.Array, *, block_size: int | None, precision: Precision
) -> Found:
    """The nearest *other* row of each; every product serves both of its rows.

    Args:
      rows: ``[n, d]``, unit rows.
      block_size: side of the tiles of cosines; None takes what suits the device.

    Returns:
      Cosines ``[n]`` and rows ``[n]`` int32.
    """
    n = len(rows)

    def body(rows: jax.Array) -> Found:
        k, me = len(rows), jax.lax.axis_index(AXIS)
        size = tiles.fit_block_size(block_size, k)
        blocks = tiles.to_blocks(rows, size)

        def visit(
            found: Found,
            others: jax.Array,
            other_found: Found,
            home: jax.Array,
            columns: Callable,
        ) -> tuple[Found, Found]:
            def tile(both: tuple, i: jax.Array, j: jax.Array) -> tuple:
                c = tiles.cosines(blocks[i], others[j], precision)
                row, real_row = ring.row_numbers(i, size, me, k, n)
                column, real_column = ring.row_numbers(j, size, home, k, n)
                valid = real_row[:, None] & real_column[None, :]
                valid &= row[:, None] != column[None, :]
                c = jnp.where(valid, c, MASKED)
                return _improve(both[0], i, c, column), _improve(both[1], j, c.T, row)

            both = found, other_found
            return ring.each_tile(tile, both, len(blocks), len(blocks), columns)

        nothing = (
            jnp.full(blocks.shape[:2], MASKED),
            jnp.full(blocks.shape[:2], _NO_ROW, jnp.int32),
        )
        found = ring.pairs(visit, blocks, nothing, _better)
        return jax.tree.map(lambda a: a.reshape(-1)[:k], found)

    cosine, row = ring.over_devices(body, (rows,), count=n)
    return cosine, jnp.where(row == _NO_ROW, 0, row)


def _search(
    best: Neighbors,
    asked: tuple[jax.Array, jax.Array, jax.Array],
    rows: jax.Array,
    home: jax.Array,
    *,
    count: int,
    block_size: int | None,
    precision: Precision,
) -> Neighbors:
    """Improves ``best`` by the rows of the device ``home``, of ``count`` of all."""
    size = tiles.fit_block_size(block_size, len(rows))
    query_size = tiles.fit_block_size(block_size, len(best.row))
    blocks = tiles.to_blocks(rows, size)

    def visit(
        best: Neighbors, block: jax.Array, exclude: jax.Array, tile: tuple
    ) -> tuple[Neighbors, None]:
        others, j = tile
        row, real = ring.row_numbers(j, size, home, len(rows), count)
        c = tiles.cosines(block, others, precision)
        other = row[None, :] != exclude[:, None]
        c = jnp.where(real[None, :] & other, c, MASKED)
        cosine, found = _best(c, row)
        remaining = jnp.where(row[None, :] == found[:, None], MASKED, c)
        runner_up = jnp.max(remaining, axis=1)
        return _merge(best, Neighbors(cosine, found, runner_up)), None

    def of_group(group: tuple) -> Neighbors:
        best, (block, exclude, wanted) = group

        def search() -> Neighbors:
            def over(best: Neighbors, tile: tuple) -> tuple[Neighbors, None]:
                return visit(best, block, exclude, tile)

            return jax.lax.scan(over, best, (blocks, jnp.arange(len(blocks))))[0]

        return jax.lax.cond(jnp.any(wanted), search, lambda: best)

    groups = jax.tree.map(lambda a: tiles.to_blocks(a, query_size), (best, asked))
    found = jax.lax.map(of_group, groups)
    return jax.tree.map(lambda a: a.reshape(-1)[: len(best.row)], found)


def _best(c: jax.Array, rows: jax.Array) -> Found:
    """Largest entry of each row of a tile, and the lowest of ``rows`` that has it."""
    cosine = jnp.max(c, axis=1)
    row = jnp.min(jnp.where(c == cosine[:, None], rows[None, :], _NO_ROW), axis=1)
    return cosine, jnp.where(cosine > MASKED, row, _NO_ROW)


def _better(a: Found, b: Found) -> Found:
    """The larger cosine; of equal ones, that of the lower row."""
    b_wins = (b[0] > a[0]) | ((b[0] == a[0]) & (b[1] < a[1]))
    return jnp.where(b_wins, b[0], a[0]), jnp.where(b_wins, b[1], a[1])


def _merge(a: Neighbors, b: Neighbors) -> Neighbors:
    runner_up = jnp.maximum(
        jnp.minimum(a.cosine, b.cosine), jnp.maximum(a.runner_up, b.runner_up)
    )
    return Neighbors(*_better(a[:2], b[:2]), runner_up)


def _improve(found: Found, block: jax.Array, c: jax.Array, rows: jax.Array) -> Found:
    known = found[0][block], found[1][block]
    better = _better(known, _best(c, rows))
    return found[0].at[block].set(better[0]), found[1].at[block].set(better[1])
