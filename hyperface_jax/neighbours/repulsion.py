r"""Smoothed repulsion between all pairs of rows, in blocks.

The largest cosine of row i to another, smoothed at a temperature :math:`τ`, is
:math:`s_i = τ \log \sum_{j ≠ i} e^{x_i · x_j / τ}`. Its gradient involves all pairs
near the maximum instead of one, which is what makes descent fast. One pass over the
tiles above the diagonal yields it for all rows: three matrix products for two tiles.
"""

import functools

import chex
import jax

from hyperface_jax.devices import sharded
from hyperface_jax.neighbours import local_repulsion, ring_repulsion
from hyperface_jax.neighbours.local_repulsion import Repulsion
from hyperface_jax.neighbours.precision import FLOAT32, Precision


@functools.partial(jax.jit, static_argnames=("block_size", "precision"))
def repulsion(
    x: jax.Array,
    level: jax.Array,
    temperature: jax.Array,
    *,
    fixed: jax.Array | None = None,
    block_size: int | None = None,
    precision: Precision = FLOAT32,
) -> Repulsion:
    """Computes forces, weights and nearest cosines in one pass.

    Args:
      x: ``[n, d]``, unit rows.
      level: ``[n]``, the cosine at which a pair weighs 1, for each row.
      temperature: ``τ`` > 0, in units of cosine.
      fixed: ``[f, d]``, unit rows that repel as the others do but have no smoothed
        maximum of their own: ``w_ji`` is 0 for them.
      block_size: side of the tiles of cosines; None takes what suits the device.
      precision: of the products.
    """
    chex.assert_rank(x, 2)
    chex.assert_shape(level, (len(x),))
    chex.assert_rank(temperature, 0)
    if fixed is not None:
        chex.assert_shape(fixed, (None, x.shape[1]))
    repel = local_repulsion.repel if sharded.size() is None else ring_repulsion.repel
    return repel(
        x,
        level,
        temperature,
        fixed=fixed,
        block_size=block_size,
        precision=precision,
    )
