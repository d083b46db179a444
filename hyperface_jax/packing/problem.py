"""What surrounds the references: a gallery, references that stay, people enrolled."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hyperface_jax.neighbours import hypersphere, ring, similarity

# Cosines in float32 are this much below the limit when those in float64 must keep it.
ENROLLED_MARGIN = 1e-6


class Problem(NamedTuple):
    """The arrays of a packing problem that do not move.

    Attributes:
      gallery: ``[m, d]``, unit rows: where faces live.
      fixed: ``[f, d]``, unit rows: references of an earlier set, to keep away from as
        from any other reference; ``f`` may be 0.
      enrolled: ``[e, d]``, unit rows: real people, whom no reference may resemble by
        more than a given cosine; ``e`` may be 0.
    """

    gallery: jax.Array
    fixed: jax.Array
    enrolled: jax.Array


def nearest_reference(
    x: jax.Array, fixed: jax.Array, *, block_size: int | None
) -> tuple[jax.Array, jax.Array]:
    """Finds for each reference the nearest other one, moving or fixed.

    Args:
      x: ``[n, d]``, unit rows.
      fixed: ``[f, d]``, unit rows.
      block_size: side of the tiles of cosines; None takes what suits the device.

    Returns:
      Cosines ``[n]`` and rows ``[n]`` of ``concatenate([x, fixed])``.
    """
    cosine, row = similarity.nearest_other(x, block_size=block_size)
    return _or_fixed(x, fixed, cosine, row, len(x), block_size)


def closest_references(
    x: jax.Array, fixed: jax.Array, *, block_size: int | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Finds the closest pair of references, at least one of which moves.

    Cheaper than :func:`nearest_reference`: only for this pair is it found out who it
    is.

    Args:
      x: ``[n, d]``, unit rows.
      fixed: ``[f, d]``, unit rows.
      block_size: side of the tiles of cosines; None takes what suits the device.

    Returns:
      Cosines ``[n]`` of each reference to its nearest, and the pair ``[1]``, ``[1]``:
      a row of ``x`` and one of ``concatenate([x, fixed])``.
    """
    cosine = similarity.nearest_cosine(x, block_size=block_size)
    cosine, _ = _or_fixed(x, fixed, cosine, jnp.zeros(len(x), int), 0, block_size)
    row = jnp.argmax(cosine)[None]
    _, other = nearest_reference_of(row, x, fixed, block_size=block_size)
    return cosine, row, other


def nearest_reference_of(
    rows: jax.Array, x: jax.Array, fixed: jax.Array, *, block_size: int | None
) -> tuple[jax.Array, jax.Array]:
    """The same for the references ``rows`` ``[b]`` of ``x`` alone."""
    batch = ring.take(x, rows)
    found = similarity.nearest(batch, x, exclude=rows, block_size=block_size)
    return _or_fixed(batch, fixed, found.cosine, found.row, len(x), block_size)


def references_at(x: jax.Array, fixed: jax.Array, index: jax.Array) -> jax.Array:
    """Rows ``index`` ``[b]`` of ``concatenate([x, fixed])``, which is never made."""
    if not len(fixed):
        return ring.take(x, index)
    moving = ring.take(x, jnp.minimum(index, len(x) - 1))
    staying = ring.take(fixed, jnp.maximum(index - len(x), 0))
    return jnp.where((index < len(x))[:, None], moving, staying)


def _or_fixed(
    x: jax.Array,
    fixed: jax.Array,
    cosine: jax.Array,
    row: jax.Array,
    first_fixed: int,
    block_size: int | None,
) -> tuple[jax.Array, jax.Array]:
    if not len(fixed):
        return cosine, row
    found = similarity.nearest(x, fixed, block_size=block_size)
    nearer = found.cosine > cosine
    return (
        jnp.where(nearer, found.cosine, cosine),
        jnp.where(nearer, found.row + first_fixed, row),
    )


def keep_away(
    x: jax.Array,
    problem: Problem,
    config: Any,
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
    if not len(problem.enrolled):
        return x
    found = similarity.nearest(x, problem.enrolled, block_size=config.block_size)
    near = ring.take(problem.enrolled, found.row)
    # The direction to turn in is undefined where both are equal: a fixed random one.
    noise = hypersphere.sample_uniform(jax.random.key(config.seed), *x.shape)
    away = hypersphere.normalize_rows(hypersphere.tangent(near, x + 1e-5 * noise))
    limit = config.max_enrolled_cosine if limit is None else limit
    # Within rounding of the limit on the safe side, so that the limit is kept exactly.
    cosine = jnp.maximum(limit - 2 * ENROLLED_MARGIN, -1.0)
    turned = cosine * near + jnp.sqrt(1 - cosine**2) * away
    too_near = found.cosine > limit - ENROLLED_MARGIN
    return jnp.where(too_near[:, None], turned, x)
