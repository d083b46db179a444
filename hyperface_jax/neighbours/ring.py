"""All pairs of rows over many devices: blocks of rows passed around a ring.

Each device holds a block of the rows. Blocks travel from neighbour to neighbour, so
that each device meets every row while it holds two blocks at a time; between two hops
it works through tiles, as one device does. Where both sides are the same set, a block
takes along what it found and travels half the way only: each two blocks meet once, and
the findings are sent home. Rows beyond the true number, there to make blocks equal, are
masked.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from hyperface_jax.devices import sharded
from hyperface_jax.devices.sharded import AXIS, ROWS


def over_devices(
    body: Callable, divided: tuple, whole: tuple = (), *, count: int
) -> Any:
    """Runs ``body`` on each device with its block of every array.

    Args:
      body: from blocks, then whole values, to a tree of blocks.
      divided: arrays whose rows are divided, or trees of them.
      whole: values that every device gets whole.
      count: how many rows of the results are real.
    """
    pad = functools.partial(sharded.pad, multiple=sharded.size())
    found = jax.shard_map(
        body,
        in_specs=(ROWS,) * len(divided) + (PartitionSpec(),) * len(whole),
        out_specs=ROWS,
        check_vma=False,
    )(*jax.tree.map(pad, divided), *whole)
    return jax.tree.map(lambda a: a[:count], found)


def around(visit: Callable, kept: Any, traveller: Any) -> tuple[Any, Any]:
    """Takes a block to every device and home again.

    Args:
      visit: from what is kept, the visiting traveller and the device it is from, to
        both as they are afterwards.
      kept: a tree of arrays, stays on its device.
      traveller: a tree of arrays, goes around.

    Returns:
      Both, after all visits.
    """
    devices, me = sharded.size(), jax.lax.axis_index(AXIS)

    def hop(step: jax.Array, both: tuple) -> tuple:
        kept, traveller = visit(*both, (me + step) % devices)
        return kept, _shift(traveller, 1)

    return jax.lax.fori_loop(0, devices, hop, (kept, traveller))


def pairs(visit: Callable, block: Any, nothing: Any, merge: Callable) -> Any:
    """Lets every two blocks meet once, and a block meet itself.

    Args:
      visit: called as ``visit(found, other, other_found, home, columns)`` with what is
        known for this device's block; the visiting block, what is known for it and the
        device it is from; and what tiles to do, for :func:`each_tile`. Returns both
        findings.
      block: a tree of arrays, this device's rows.
      nothing: what is known of a block before anything is.
      merge: of two findings for the same block.

    Returns:
      What was found for this device's block.
    """
    devices, me = sharded.size(), jax.lax.axis_index(AXIS)
    hops = devices // 2 + 1

    def hop(step: jax.Array, everything: tuple) -> tuple:
        found, other, other_found = everything
        home = (me + step) % devices
        # Opposite blocks meet on both devices: each does every second tile.
        halved = (step > 0) & (2 * step == devices)

        def columns(i: jax.Array) -> tuple[jax.Array, jax.Array]:
            first = jnp.where(halved, (i + (me > home)) % 2, 0)
            # A block meets itself only in the tiles on and above the diagonal.
            return jnp.where(step == 0, i, first), jnp.where(halved, 2, 1)

        found, other_found = visit(found, other, other_found, home, columns)
        return found, *_shift((other, other_found), 1)

    found, _, travelled = jax.lax.fori_loop(0, hops, hop, (nothing, block, nothing))
    return merge(found, _shift(travelled, -hops))


def each_tile(
    visit: Callable, found: Any, rows: int, columns: int, chosen: Callable
) -> Any:
    """Folds ``found = visit(found, i, j)`` over tiles.

    Args:
      visit: does tile ``(i, j)``.
      found: what it starts with.
      rows: the number of rows of tiles.
      columns: the number of columns of tiles.
      chosen: from ``i`` to the first ``j`` and the stride.
    """

    def of_row(i: jax.Array, found: Any) -> Any:
        first, stride = chosen(i)
        tiles = (columns - first + stride - 1) // stride

        def tile(t: jax.Array, found: Any) -> Any:
            return visit(found, i, first + t * stride)

        return jax.lax.fori_loop(0, tiles, tile, found)

    return jax.lax.fori_loop(0, rows, of_row, found)


def row_numbers(
    tile: jax.Array, size: int, home: jax.Array, rows: int, count: int
) -> tuple[jax.Array, jax.Array]:
    """The numbers ``[size]`` of the rows of a tile, among those of all devices.

    Args:
      tile: which tile of its block.
      size: rows a tile.
      home: the device the block is from.
      rows: rows a block.
      count: how many rows of all devices are real.

    Returns:
      The numbers, and which are of real rows.
    """
    local = tile * size + jnp.arange(size, dtype=jnp.int32)
    number = home * rows + local
    # The tail of the last tile has the numbers of the next device's rows.
    return number, (local < rows) & (number < count)


def take(rows: jax.Array, index: jax.Array) -> jax.Array:
    """``rows[index]``, on many devices without bringing all rows together.

    Args:
      rows: ``[m, ...]``.
      index: ``[n]`` integers in ``[0, m)``.

    Returns:
      ``[n, ...]``.
    """
    devices = sharded.size()
    if devices is None:
        return rows[index]
    if len(index) * devices <= len(rows):
        return over_devices(_take_few, (rows, index), count=len(index))
    return _take_many(rows, index)


def _take_few(rows: jax.Array, index: jax.Array) -> jax.Array:
    """Each device contributes its rows; their sum is scattered over the devices."""
    everywhere = jax.lax.all_gather(index, AXIS, tiled=True)
    mine, local = _own(everywhere, len(rows), jax.lax.axis_index(AXIS), rows.ndim)
    return jax.lax.psum_scatter(jnp.where(mine, rows[local], 0), AXIS, tiled=True)


@jax.custom_vjp
def _take_many(rows: jax.Array, index: jax.Array) -> jax.Array:
    """Passes the rows around; each device copies the ones it needs."""

    def body(rows: jax.Array, index: jax.Array) -> jax.Array:
        def visit(found: jax.Array, rows: jax.Array, home: jax.Array) -> tuple:
            mine, local = _own(index, len(rows), home, rows.ndim)
            return jnp.where(mine, rows[local], found), rows

        nothing = jnp.zeros((len(index), *rows.shape[1:]), rows.dtype)
        return around(visit, nothing, rows)[0]

    return over_devices(body, (rows, index), count=len(index))


def _take_many_forward(rows: jax.Array, index: jax.Array) -> tuple:
    return _take_many(rows, index), (index, jnp.zeros_like(rows))


def _take_many_backward(saved: tuple, gradient: jax.Array) -> tuple:
    """Passes sums around, which collect the gradient of every copy of a row.

    Automatic differentiation would store the rows of every visit.
    """
    index, blank = saved

    def body(blank: jax.Array, index: jax.Array, gradient: jax.Array) -> jax.Array:
        def visit(kept: tuple, total: jax.Array, home: jax.Array) -> tuple:
            mine, local = _own(index, len(total), home, total.ndim)
            return kept, total.at[local].add(jnp.where(mine, gradient, 0))

        return around(visit, (), blank)[1]

    total = over_devices(body, (blank, index, gradient), count=len(blank))
    return total, None


_take_many.defvjp(_take_many_forward, _take_many_backward)


def _own(index: jax.Array, rows: int, home: jax.Array, ndim: int) -> tuple:
    """Which of ``index`` are rows of the device ``home``, and their places there."""
    local = index - home * rows
    mine = (local >= 0) & (local < rows)
    return mine.reshape(-1, *[1] * (ndim - 1)), jnp.clip(local, 0, rows - 1)


def _shift(tree: Any, distance: int) -> Any:
    """Passes ``tree`` around: each device gets that of the one ``distance`` further."""
    devices = sharded.size()
    moves = [((i + distance) % devices, i) for i in range(devices)]
    return jax.tree.map(lambda a: jax.lax.ppermute(a, AXIS, moves), tree)
