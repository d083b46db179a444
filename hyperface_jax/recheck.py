"""Searching again for the points whose findings are in doubt, and for no others."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# Enough for products to run at their full rate, and few where few are in doubt.
POINTS_AT_ONCE = 128


def search_again(
    search: Callable, known: Any, doubtful: jax.Array, *, at_once: int | None = None
) -> Any:
    """Replaces what is known of the doubtful points by what a search finds.

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
    count, size = jnp.sum(doubtful), min(at_once or POINTS_AT_ONCE, n)
    # Their numbers, packed together; the tail points behind the last point.
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
