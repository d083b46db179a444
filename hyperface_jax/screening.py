r"""Nearest rows screened in bfloat16 and decided in float32: the same rows, provably.

A bfloat16 product costs a half to a tenth of a float32 one on hardware made for it.
Rounding moves the rows by :math:`e_x = |x - \hat x|` and :math:`e_y`, which are known,
and a cosine by at most

.. math:: |\hat x · \hat y - x · y| ≤ e_x |\hat y| + |x| e_y.

A query whose screened leader leads by more than twice that bound has found its nearest
row; the other queries are searched again in float32. How many these are depends on the
data alone: next to none where each query has one near row, as references have in a
gallery, and nearly all where many rows are about equally near, as other references are
in a finished packing. So this pays for searches of the first kind, not of the second,
and only where bfloat16 products are faster: compiled by XLA for a CPU they hardly are,
even with instructions for them.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hyperface_jax import recheck, similarity
from hyperface_jax.similarity import MASKED, Neighbors


class Screened(NamedTuple):
    """What screening found, and how much of it had to be decided in float32.

    Attributes:
      neighbors: the cosine, in float32, and the row are those of
        :func:`hyperface_jax.similarity.nearest`; ``runner_up`` is no less than the
        true one, so whoever trusts a lead over it may.
      in_doubt: how many queries were searched again.
    """

    neighbors: Neighbors
    in_doubt: jax.Array


def nearest(
    queries: jax.Array,
    rows: jax.Array,
    *,
    exclude: jax.Array | None = None,
    block_size: int | None = None,
) -> Screened:
    """Finds the row nearest to each query, on one device.

    Args:
      queries: ``[q, d]``, unit rows.
      rows: ``[m, d]``, unit rows.
      exclude: ``[q]`` integers, a row that each query must not find, such as itself.
      block_size: side of the tiles of cosines; None takes what suits the device.
    """
    return _nearest(queries, rows, exclude, block_size)


@functools.partial(jax.jit, static_argnums=3)
def _nearest(
    queries: jax.Array,
    rows: jax.Array,
    exclude: jax.Array | None,
    block_size: int | None,
) -> Screened:
    coarse_queries, query_error = _rounded(queries)
    coarse_rows, row_error = _rounded(rows)
    found = similarity.nearest(
        coarse_queries, coarse_rows, exclude=exclude, block_size=block_size
    )
    error = _error(query_error, jnp.max(row_error), rows.shape[1])
    doubtful = found.cosine - found.runner_up <= 2 * error
    exact = jnp.sum(queries * rows[found.row], axis=1)
    # Without another row to find there is no runner-up.
    runner_up = jnp.where(found.runner_up > MASKED, found.runner_up + error, MASKED)
    found = Neighbors(exact, found.row, runner_up)

    def search(some: jax.Array) -> Neighbors:
        chosen = queries.at[some].get(mode="clip")
        excluded = None if exclude is None else exclude.at[some].get(mode="clip")
        return similarity.nearest(chosen, rows, exclude=excluded, block_size=block_size)

    found = recheck.search_again(search, found, doubtful)
    return Screened(found, jnp.sum(doubtful))


def _rounded(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The rows in bfloat16, and how far rounding moved each."""
    coarse = x.astype(jnp.bfloat16)
    moved = jnp.linalg.norm(x - coarse.astype(x.dtype), axis=1)
    return coarse, moved


def _error(query_error: jax.Array, row_error: jax.Array, d: int) -> jax.Array:
    """How far a screened cosine may be from the one that float32 computes."""
    # Lengths are 1 to rounding and, of rounded rows, 1 + 2^-8. Float32 sums of d
    # products err by d 2^-24 at most, here those of three computations.
    return (1 + 2.0**-7) * (query_error + row_error) + 4 * d * 2.0**-24
