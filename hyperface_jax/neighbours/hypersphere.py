"""Points on the unit hypersphere: rows ``[n, d]`` of length 1."""

import chex
import jax
import jax.numpy as jnp


def normalize_rows(x: jax.Array) -> jax.Array:
    """Divides each row of ``x`` ``[n, d]`` by its Euclidean norm (rows not zero)."""
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


def tangent(x: jax.Array, v: jax.Array) -> jax.Array:
    """Projects row i of ``v`` on the tangent space at row i of ``x``.

    Args:
      x: ``[n, d]``, unit rows.
      v: ``[n, d]``.

    Returns:
      ``[n, d]``: ``v_i - (v_i · x_i) x_i``, orthogonal to ``x_i``.
    """
    chex.assert_equal_shape((x, v))
    return v - jnp.sum(v * x, axis=1, keepdims=True) * x


def sample_uniform(key: jax.Array, n: int, d: int) -> jax.Array:
    """Draws ``n`` points uniformly on the unit sphere of ``R^d``: ``[n, d]`` float32.

    A standard normal vector has no preferred direction, so its direction is uniform
    (Muller, 1959).
    """
    return normalize_rows(jax.random.normal(key, (n, d)))
