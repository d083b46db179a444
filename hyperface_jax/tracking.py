"""The nearest gallery rows of moving points, searched again only when needed.

A point whose nearest gallery row leads the runner-up by a margin ``m`` keeps it as long
as it has moved by less than ``m / 2`` (both cosines change by at most the distance
moved). References move little, so nearly every search can be skipped, and provably so.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hyperface_jax import recheck, ring_nearest, sharded, similarity

# Two float32 cosines of equal vectors, summed in different orders, differ by less.
_ROUNDING = 4e-6


class NearestGallery(NamedTuple):
    """What is known of the nearest gallery rows.

    Attributes:
      row: ``[n]`` int32, the nearest gallery row of each point.
      margin: ``[n]``, its cosine less the runner-up's, when last searched.
      anchor: ``[n, d]``, where the point was then.
    """

    row: jax.Array
    margin: jax.Array
    anchor: jax.Array


def start(
    x: jax.Array, gallery: jax.Array, *, block_size: int | None = None
) -> NearestGallery:
    """Searches the nearest row of ``gallery`` ``[m, d]`` for every row of ``x``."""
    found = similarity.nearest(x, gallery, block_size=block_size)
    # A copy: the anchor stays when the points, whose buffer may be donated, move.
    return NearestGallery(found.row, found.cosine - found.runner_up, jnp.copy(x))


def unknown(x: jax.Array) -> NearestGallery:
    """Nothing known yet of any row of ``x``: the first refresh searches."""
    return NearestGallery(
        jnp.zeros(len(x), jnp.int32), jnp.full(len(x), -1.0), jnp.copy(x)
    )


def refresh(
    known: NearestGallery,
    x: jax.Array,
    gallery: jax.Array,
    *,
    block_size: int | None = None,
) -> NearestGallery:
    """Brings ``known`` up to date: afterwards ``row`` is exact for ``x``.

    Only points that may have changed their nearest row are searched again, some at
    once.

    Args:
      known: of :func:`start` or an earlier :func:`refresh`.
      x: ``[n, d]``, unit rows, where the points are now.
      gallery: ``[m, d]``, unit rows, the same as before.
      block_size: points searched at once, and side of the tiles of cosines; None
        takes 128 points, and tiles that suit the device.

    Returns:
      The up-to-date record.
    """
    if sharded.size() is not None:
        return _refresh_on_many(known, x, gallery, block_size)
    return _refresh(known, x, gallery, block_size)


@functools.partial(jax.jit, static_argnums=3)
def _refresh(
    known: NearestGallery, x: jax.Array, gallery: jax.Array, block_size: int | None
) -> NearestGallery:
    def search(some: jax.Array) -> NearestGallery:
        points = x.at[some].get(mode="clip")
        return start(points, gallery, block_size=block_size)

    return recheck.search_again(search, known, _doubtful(known, x), at_once=block_size)


@functools.partial(jax.jit, static_argnums=3)
def _refresh_on_many(
    known: NearestGallery, x: jax.Array, gallery: jax.Array, block_size: int | None
) -> NearestGallery:
    doubtful = _doubtful(known, x)

    def search() -> NearestGallery:
        nobody = jnp.full(len(x), -1)
        found = ring_nearest.nearest(
            x, gallery, nobody, wanted=doubtful, block_size=block_size
        )
        margin = found.cosine - found.runner_up
        return NearestGallery(
            jnp.where(doubtful, found.row, known.row),
            jnp.where(doubtful, margin, known.margin),
            jnp.where(doubtful[:, None], x, known.anchor),
        )

    # The gallery goes around only if some device has a point to search for.
    return jax.lax.cond(jnp.any(doubtful), search, lambda: known)


def _doubtful(known: NearestGallery, x: jax.Array) -> jax.Array:
    """Which points ``[n]`` may have changed their nearest gallery row."""
    moved = jnp.linalg.norm(x - known.anchor, axis=1)
    return 2 * moved + _ROUNDING > known.margin
