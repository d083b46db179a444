"""Smoothed repulsion on one device: the tiles on and above the diagonal, once each.

One pass yields the forces on both rows of every pair: three matrix products for two
tiles.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperface_jax.neighbours import tiles
from hyperface_jax.neighbours.precision import Precision, product

# Weights are relative to the last known level and capped at e^40, so that a pair that
# has come much closer since is pushed apart by a finite force.
_MAX_EXPONENT = 40.0


class Repulsion(NamedTuple):
    """Forces between rows.

    Attributes:
      force: ``[n, d]``, ``Σ_j (w_ij + w_ji) x_j``, with ``w_ij = exp((x_i · x_j -
        level_i) / τ)``.
      weight: ``[n]``, ``Σ_j (w_ij + w_ji)``.
      row_weight: ``[n]``, ``Σ_j w_ij``: the smoothed maximum of row i is ``level_i + τ
        log row_weight_i``.
      nearest: ``[n]``, the exact largest cosine of each row to another.
    """

    force: jax.Array
    weight: jax.Array
    row_weight: jax.Array
    nearest: jax.Array


def repel(
    x: jax.Array,
    level: jax.Array,
    temperature: jax.Array,
    *,
    fixed: jax.Array | None,
    block_size: int | None,
    precision: Precision,
) -> Repulsion:
    """:func:`hyperface_jax.neighbours.repulsion.repulsion` on one device."""
    n, d = x.shape
    size = tiles.even_block_size(block_size, n)
    blocks = tiles.to_blocks(x, size)
    count = len(blocks)
    levels = tiles.to_blocks(level, size)
    add = functools.partial(add_tile, precision=precision)

    def visit(total: Repulsion, i: jax.Array, j: jax.Array, c: jax.Array) -> Repulsion:
        of_first = pair_weights(c, levels[i][:, None], temperature)
        of_second = pair_weights(c, levels[j][None, :], temperature)
        both = of_first + of_second
        # A diagonal tile already holds both orders of its pairs.
        once = jnp.where(i == j, 0.0, 1.0)
        total = add(total, i, c, of_first, both, blocks[j], 1.0)
        return add(total, j, c.T, of_second.T, both.T, blocks[i], once)

    start = Repulsion(
        jnp.zeros((count, size, d)),
        jnp.zeros((count, size)),
        jnp.zeros((count, size)),
        jnp.full((count, size), tiles.MASKED),
    )
    total = tiles.visit_pairs(visit, start, x, size, precision)
    if fixed is not None and len(fixed):
        total = _repelled_by(fixed, total, blocks, levels, temperature, precision)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:n], total)


def _repelled_by(
    fixed: jax.Array,
    total: Repulsion,
    blocks: jax.Array,
    levels: jax.Array,
    temperature: jax.Array,
    precision: Precision,
) -> Repulsion:
    """Adds the repulsion of fixed rows; one-sided, so two products a tile."""
    size = blocks.shape[1]
    count = -(-len(fixed) // size)
    fixed_blocks = tiles.to_blocks(fixed, size)
    places = jnp.asarray(np.indices((len(blocks), count)).reshape(2, -1).T)

    def visit(total: Repulsion, tile: jax.Array) -> tuple[Repulsion, None]:
        i, j = tile
        c = tiles.cosines(blocks[i], fixed_blocks[j], precision)
        real = j * size + jnp.arange(size) < len(fixed)
        c = jnp.where(real[None, :], c, tiles.MASKED)
        weights = pair_weights(c, levels[i][:, None], temperature)
        others = fixed_blocks[j]
        return add_tile(
            total, i, c, weights, weights, others, 1.0, precision=precision
        ), None

    return jax.lax.scan(visit, total, places)[0]


def pair_weights(c: jax.Array, level: jax.Array, temperature: jax.Array) -> jax.Array:
    """What pairs of cosine ``c`` weigh for the rows at ``level``; masked ones 0."""
    weights = jnp.exp(jnp.minimum((c - level) / temperature, _MAX_EXPONENT))
    return jnp.where(c > tiles.MASKED, weights, 0.0)


def add_tile(
    total: Repulsion,
    block: jax.Array,
    c: jax.Array,
    row_weights: jax.Array,
    weights: jax.Array,
    others: jax.Array,
    scale: float | jax.Array,
    *,
    precision: Precision,
) -> Repulsion:
    """Adds the forces of a tile on the rows of one side to ``total``.

    Args:
      total: sums by blocks, ``[blocks, size, ...]``.
      block: which block the rows are.
      c: ``[size, others]``, cosines.
      row_weights: ``[size, others]``, ``w_ij``.
      weights: ``[size, others]``, ``w_ij + w_ji``.
      others: ``[others, d]``, the rows of the other side.
      scale: 0 leaves all but the nearest cosines as they are.
      precision: of the product.
    """
    force = product(weights, others, precision)
    return Repulsion(
        total.force.at[block].add(scale * force),
        total.weight.at[block].add(scale * jnp.sum(weights, axis=1)),
        total.row_weight.at[block].add(scale * jnp.sum(row_weights, axis=1)),
        total.nearest.at[block].max(jnp.max(c, axis=1)),
    )
