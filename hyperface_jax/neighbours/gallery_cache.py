"""A cache of the nearest gallery rows of moving points, searched only when stale.

A point whose nearest gallery row leads the runner-up by a margin ``m`` keeps it as long
as it has moved by less than ``m / 2`` (both cosines change by at most the distance
moved). References move little, so nearly every search can be skipped, and provably so.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from hyperface_jax.devices import sharded
from hyperface_jax.neighbours import ring_nearest, similarity

# Two float32 cosines of equal vectors, summed in different orders, differ by less.
_ROUNDING = 4e-6
# Enough for matrix products at their full rate, little waste where few are stale.
_POINTS_AT_ONCE = 128


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
    # A copy, since the buffer of the points may be donated.
    return NearestGallery(found.row, found.cosine - found.runner_up, jnp.copy(x))


def unknown(x: jax.Array) -> NearestGallery:
    """An empty cache: the first refresh searches for every row of ``x``."""
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
    chex.assert_equal_shape((x, known.anchor))
    chex.assert_shape(gallery, (None, x.shape[1]))
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

    return _search_again(search, known, _doubtful(known, x), at_once=block_size)


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

    # The gallery is passed around only if some point needs a search.
    return jax.lax.cond(jnp.any(doubtful), search, lambda: known)


def _doubtful(known: NearestGallery, x: jax.Array) -> jax.Array:
    """The points ``[n]`` whose nearest gallery row may have changed."""
    moved = jnp.linalg.norm(x - known.anchor, axis=1)
    return 2 * moved + _ROUNDING > known.margin


def _search_again(
    search: Callable, known: Any, doubtful: jax.Array, *, at_once: int | None = None
) -> Any:
    """Searches for the doubtful points and updates what is known of them.

    Args:
      search: from the numbers ``[s]`` of some points to what it finds for them, a tree
        like ``known``. A number of ``n`` is no point's: what is found for it is
        dropped.
      known: a tree of arrays ``[n, ...]``.
      doubtful: ``[n]`` booleans.
      at_once: how many points are searched for at once; None takes 128.

    Returns:
      ``known``, up to date.
    """
    n = len(doubtful)
    count, size = jnp.sum(doubtful), min(at_once or _POINTS_AT_ONCE, n)
    # Their numbers first; the tail points beyond the last point.
    padded = -(-n // size) * size
    points = jnp.nonzero(doubtful, size=padded, fill_value=n)[0]

    def some(progress: tuple) -> tuple:
        done, known = progress
        chosen = jax.lax.dynamic_slice(points, (done,), (size,))
        return done + size, jax.tree.map(
            lambda all, new: all.at[chosen].set(new, mode="drop"), known, search(chosen)
        )

    return jax.lax.while_loop(
        lambda progress: progress[0] < count, some, (jnp.zeros_like(count), known)
    )[1]
