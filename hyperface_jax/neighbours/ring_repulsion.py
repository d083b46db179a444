"""Smoothed repulsion over many devices: see :mod:`hyperface_jax.neighbours.repulsion`.

Each two blocks of rows meet once, and the forces on the visiting block travel on with
it. Sums are those of one device in another order: equal to float32 rounding.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from hyperface_jax.devices.sharded import AXIS
from hyperface_jax.neighbours import ring, tiles
from hyperface_jax.neighbours.local_repulsion import Repulsion, add_tile, pair_weights
from hyperface_jax.neighbours.precision import Precision
from hyperface_jax.neighbours.tiles import MASKED

# Rows and their levels, in tiles: [tiles, size, d] and [tiles, size].
Block = tuple[jax.Array, jax.Array]


def repel(
    x: jax.Array,
    level: jax.Array,
    temperature: jax.Array,
    *,
    fixed: jax.Array | None,
    block_size: int | None,
    precision: Precision,
) -> Repulsion:
    """:func:`hyperface_jax.neighbours.repulsion.repulsion` over many devices."""
    n = len(x)
    with_fixed = fixed is not None and len(fixed) > 0

    def body(x: jax.Array, levels: jax.Array, *rest: jax.Array) -> Repulsion:
        *fixed_rows, temperature = rest
        size = tiles.fit_block_size(block_size, len(x))
        block = tuple(tiles.to_blocks(a, size) for a in (x, levels))
        nothing = Repulsion(
            jnp.zeros_like(block[0]),
            jnp.zeros_like(block[1]),
            jnp.zeros_like(block[1]),
            jnp.full_like(block[1], MASKED),
        )
        visit = _between(block, temperature, rows=len(x), count=n, precision=precision)
        found = ring.pairs(visit, block, nothing, _sum)
        if with_fixed:
            push = _pushed(
                block, temperature, len(fixed_rows[0]), len(fixed), precision
            )
            blocks = tiles.to_blocks(fixed_rows[0], size)
            found, _ = ring.around(push, found, blocks)
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[: len(x)], found)

    divided = (x, level, fixed) if with_fixed else (x, level)
    return ring.over_devices(body, divided, (jnp.asarray(temperature),), count=n)


def _between(
    block: Block,
    temperature: jax.Array,
    *,
    rows: int,
    count: int,
    precision: Precision,
) -> Callable:
    """What happens when another block visits: for :func:`ring.pairs`."""
    x, levels = block
    me, (blocks, size, _) = jax.lax.axis_index(AXIS), x.shape
    add = functools.partial(add_tile, precision=precision)

    def visit(
        found: Repulsion,
        other: Block,
        other_found: Repulsion,
        home: jax.Array,
        columns: Callable,
    ) -> tuple[Repulsion, Repulsion]:
        others, other_levels = other

        def tile(both: tuple, i: jax.Array, j: jax.Array) -> tuple:
            c = tiles.cosines(x[i], others[j], precision)
            first, real = ring.row_numbers(i, size, me, rows, count)
            second, other_real = ring.row_numbers(j, size, home, rows, count)
            valid = real[:, None] & other_real[None, :]
            valid &= first[:, None] != second[None, :]
            c = jnp.where(valid, c, MASKED)
            of_first = pair_weights(c, levels[i][:, None], temperature)
            of_second = pair_weights(c, other_levels[j][None, :], temperature)
            sums = of_first + of_second
            # A diagonal tile already holds both orders of its pairs.
            once = jnp.where((i == j) & (home == me), 0.0, 1.0)
            return (
                add(both[0], i, c, of_first, sums, others[j], 1.0),
                add(both[1], j, c.T, of_second.T, sums.T, x[i], once),
            )

        return ring.each_tile(tile, (found, other_found), blocks, blocks, columns)

    return visit


def _pushed(
    block: Block,
    temperature: jax.Array,
    rows: int,
    count: int,
    precision: Precision,
) -> Callable:
    """What visiting fixed rows do: one-sided, for :func:`ring.around`."""
    x, levels = block
    blocks, size, _ = x.shape
    add = functools.partial(add_tile, precision=precision)

    def visit(found: Repulsion, fixed: jax.Array, home: jax.Array) -> tuple:
        def tile(found: Repulsion, i: jax.Array, j: jax.Array) -> Repulsion:
            _, real = ring.row_numbers(j, size, home, rows, count)
            c = tiles.cosines(x[i], fixed[j], precision)
            c = jnp.where(real[None, :], c, MASKED)
            weights = pair_weights(c, levels[i][:, None], temperature)
            return add(found, i, c, weights, weights, fixed[j], 1.0)

        return ring.each_tile(
            tile, found, blocks, len(fixed), lambda i: (jnp.int32(0), jnp.int32(1))
        ), fixed

    return visit


def _sum(a: Repulsion, b: Repulsion) -> Repulsion:
    return Repulsion(
        a.force + b.force,
        a.weight + b.weight,
        a.row_weight + b.row_weight,
        jnp.maximum(a.nearest, b.nearest),
    )
