"""Tiles of cosines: products of blocks of unit rows, and every pair of blocks once.

Nothing here ever holds an ``n × n`` array: memory is a few tiles of
``block_size × block_size`` cosines beside the rows themselves.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperface_jax.neighbours.precision import FLOAT32, Precision, product

DEFAULT_BLOCK_SIZE = 512
# On a CPU, tiles wide enough for two cores to multiply at their full rate (300 are too
# few), but narrower for few rows, since diagonal tiles hold every pair twice. On other
# devices a tile must be worth launching kernels for.
_SEARCHED_TILE = 1000
_SMALL_TILE = 304
_TILES_A_SIDE = 8
_SEARCHED_TILE_ELSEWHERE = 2048
# Below every cosine, and finite: differences of infinities would be NaN.
MASKED = -4.0


def cosines(a: jax.Array, b: jax.Array, precision: Precision = FLOAT32) -> jax.Array:
    """Cosines ``[p, q]`` between unit rows ``a`` ``[p, d]`` and ``b`` ``[q, d]``."""
    return product(a, b.T, precision)


def fit_block_size(block_size: int | None, rows: int) -> int:
    """The block size to use for ``rows`` rows: the default, never more than needed."""
    return min(block_size or DEFAULT_BLOCK_SIZE, max(rows, 1))


def even_block_size(block_size: int | None, rows: int) -> int:
    """The side of tiles whose blocks leave next to no padding.

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


def visit_pairs(
    visit: Callable,
    found: Any,
    rows: jax.Array,
    block_size: int,
    precision: Precision = FLOAT32,
) -> Any:
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
        c = cosines(blocks[i], blocks[j], precision)
        if mask:
            row = (i * block_size + within)[:, None]
            column = (j * block_size + within)[None, :]
            c = jnp.where((row != column) & (row < n) & (column < n), c, MASKED)
        return visit(found, i, j, c), None

    # Most tiles need no mask, and masking costs as much as the search itself.
    for mask in (False, True):
        tiles = np.stack([first, second], axis=1)[masked == mask]
        visit_all = functools.partial(visit_tile, mask=mask)
        found, _ = jax.lax.scan(visit_all, found, jnp.asarray(tiles), unroll=2)
    return found
