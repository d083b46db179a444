"""Enforces the cosine limit to enrolled embeddings, during and after packing.

Each iteration of a descent turns a reference away from its nearest enrolled embedding
only, which may bring it near another. After packing, references are turned until all
keep the limit or, where they can't, the smallest limit that they can keep.
"""

import functools
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp

from hyperface_jax.devices import sharded
from hyperface_jax.neighbours import hypersphere, ring, similarity
from hyperface_jax.packing.config import PackingConfig
from hyperface_jax.packing.problem import Problem

# Cosines in float32 this far below the limit keep it in float64 as well.
_MARGIN = 1e-6
_MAX_SWEEPS = 200
# Sweeping ends after this many sweeps without a gain.
_PATIENCE = 25
# How finely the smallest feasible limit is found, when the one asked for isn't.
_RESOLUTION = 1e-3


def keep_away(
    x: jax.Array,
    problem: Problem,
    config: PackingConfig,
    *,
    limit: jax.Array | float | None = None,
) -> jax.Array:
    """Turns each reference that is too near an enrolled embedding away from it.

    One sweep: a reference too near several is turned from the nearest, to the cosine
    allowed, along the great circle through both; the next sweep sees to the next.

    Args:
      x: ``[n, d]``, unit rows.
      problem: holds the enrolled embeddings.
      config: holds ``max_enrolled_cosine``.
      limit: the cosine allowed, instead of that one.

    Returns:
      ``[n, d]``, unit rows.
    """
    chex.assert_equal_shape_suffix((x, problem.enrolled), 1)
    if not len(problem.enrolled):
        return x
    found = similarity.nearest(x, problem.enrolled, block_size=config.block_size)
    near = ring.take(problem.enrolled, found.row)
    # Equal rows have no direction to turn in: noise gives a fixed random one.
    noise = hypersphere.sample_uniform(jax.random.key(config.seed), *x.shape)
    away = hypersphere.normalize_rows(hypersphere.tangent(near, x + 1e-5 * noise))
    limit = config.max_enrolled_cosine if limit is None else limit
    # Within rounding of the limit on the safe side, so that the limit is kept exactly.
    cosine = jnp.maximum(limit - 2 * _MARGIN, -1.0)
    turned = cosine * near + jnp.sqrt(1 - cosine**2) * away
    too_near = found.cosine > limit - _MARGIN
    return jnp.where(too_near[:, None], turned, x)


def enforce(x: Any, problem: Problem, config: PackingConfig) -> Any:
    """Turns references until each keeps the limit to all enrolled embeddings.

    Args:
      x: ``[n, d]``, unit rows, as the solver left them, on whatever devices.
      problem: what surrounds them.
      config: a :class:`hyperface_jax.PackingConfig`.

    Returns:
      The references; where some must exceed ``config.max_enrolled_cosine``, those
      found whose largest cosine to an enrolled embedding is smallest.
    """
    if not jax.tree.leaves(problem.enrolled)[0].size:
        return x
    limit = config.max_enrolled_cosine
    sweep = sharded.jit(functools.partial(_sweep, config=config))
    best, least = _sweep_until(x, limit, sweep, problem)
    # The limit seems infeasible: bisect for the smallest feasible one.
    low = limit
    while least > limit and least - low > _RESOLUTION:
        middle = (low + least) / 2
        found, cosine = _sweep_until(best, middle, sweep, problem)
        if cosine < least:
            best, least = found, cosine
        if cosine > middle:
            low = middle
    return best


@functools.partial(jax.jit, static_argnames="config")
def _sweep(
    x: jax.Array, problem: Problem, limit: jax.Array, *, config: PackingConfig
) -> tuple[jax.Array, jax.Array]:
    """Does one sweep; returns also the largest cosine before it."""
    found = similarity.nearest(x, problem.enrolled, block_size=config.block_size)
    return keep_away(x, problem, config, limit=limit), jnp.max(found.cosine)


def _sweep_until(
    x: Any, limit: float, sweep: Any, problem: Problem
) -> tuple[Any, float]:
    """Sweeps until ``limit`` is kept or gains end; returns the best rows seen."""
    best, least, since = x, math.inf, 0
    for _ in range(_MAX_SWEEPS):
        turned, largest = sweep(x, problem, jnp.float32(limit))
        since = 0 if float(largest) < least - 1e-6 else since + 1
        if float(largest) < least:
            best, least = x, float(largest)
        if least <= limit - _MARGIN or since > _PATIENCE:
            break
        x = turned
    return best, least
