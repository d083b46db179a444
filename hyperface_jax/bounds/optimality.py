r"""How low the objective can be: a lower bound by Lagrangian duality.

With the gallery row :math:`g_i` that reference i is nearest to held, packing with the
reduction ``min`` is

.. math::
   \min_{x, s} \; s - 1 + \frac{α}{n} \sum_i (1 - x_i · g_i) \quad \text{where} \quad
   x_i · x_j ≤ s, \; \|x_i\| = 1

For any weights :math:`λ_{ij} ≥ 0` of pairs, of sum 1, and any :math:`μ_i`, the
Lagrangian is a quadratic function of all rows together, with the matrix :math:`A = Λ +
\operatorname{diag} μ`. Where :math:`A` is positive definite its minimum is known, and
no arrangement has a smaller objective (Boyd and Vandenberghe, Convex Optimization,
2004, section 5.2). Taken here are the smoothed maximum's own weights, :math:`λ_{ij} ∝
e^{x_i · x_j / τ}`, and the :math:`μ_i` for which the residual

.. math:: r_i = \sum_j λ_{ij} x_j + μ_i x_i - \frac{α}{n} g_i

is tangent. At ``x`` the Lagrangian is the mean cosine under :math:`λ`, less 1, plus the
regulariser, and its minimum lies :math:`\frac12 \langle R, A^{-1} R \rangle` below: at
the end of a good descent, next to nothing. So the packing is then proven to be the best
there is, not only near by but on the whole sphere, as far as references keep their
gallery rows.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from hyperface_jax import checks
from hyperface_jax.neighbours import similarity, tiles
from hyperface_jax.neighbours.local_repulsion import pair_weights

# Weights fit best at the temperature at which the descent ended, which isn't known
# here: these powers of 2 are tried, then ever finer ones around the best.
_COARSE_POWERS = tuple(range(-17, -5))
_FINER = (1 / 2, 1 / 4, 1 / 8, 1 / 16)
_MAX_ITERATIONS = 60
_ACCURACY = 1e-4
_PROBES = 8
# Residuals below this multiple of α/n count as zero.
_TINY = 1e-6


class ObjectiveBound(NamedTuple):
    """What is proven about the objective.

    Attributes:
      bound: no arrangement in which every reference keeps its gallery row has a smaller
        objective; -inf where ``curvature`` is not positive. Exact to the rounding of
        float32 cosines, some 1e-6.
      gap: the objective of the embeddings, less ``bound``.
      curvature: the smallest eigenvalue of the Lagrangian's matrix, as a multiple of
        ``α / n``, estimated by the Lanczos process: from above, and closely after the
        dozens of steps it takes here. The bound rests on its being positive.
      temperature: of the weights, in units of cosine.
    """

    bound: float
    gap: float
    curvature: float
    temperature: float


def objective_bound(
    embeddings: Any,
    gallery: Any,
    *,
    regularization_weight: float = 0.5,
    block_size: int | None = None,
) -> ObjectiveBound:
    """Bounds the objective with the reduction ``min`` from below, near a packing.

    Takes as long as some dozens of iterations of the default solver.

    Args:
      embeddings: ``[n, d]``, unit rows, ``n >= 2``: the result of a packing.
      gallery: ``[m, d]``, unit rows.
      regularization_weight: ``α`` > 0. Without a gallery, use
        :func:`hyperface_jax.max_cosine_bound`.
      block_size: side of the tiles of cosines; None takes what suits the device.

    Raises:
      InputError: malformed rows, dimensions that differ, or ``α`` out of range.
    """
    checks.in_range(
        regularization_weight, "regularization_weight", 0, 1e6, open_low=True
    )
    checks.block_size(block_size)
    embeddings = checks.unit_rows(embeddings, "embeddings", min_rows=2)
    gallery = checks.unit_rows(gallery, "gallery")
    checks.same_dimension(embeddings, gallery, "embeddings and gallery")
    x, gallery = jnp.asarray(embeddings), jnp.asarray(gallery)
    unit = regularization_weight / len(x)
    nearest = similarity.nearest(x, gallery, block_size=block_size).row
    pull = unit * gallery[nearest]
    # Weighted regulariser.
    regularization = regularization_weight - float(jnp.sum(x * pull))
    max_cosine = jnp.max(similarity.nearest_cosine(x, block_size=block_size))
    size = tiles.even_block_size(block_size, len(x))

    best = _best_fit(lambda tau: _lagrangian(x, pull, max_cosine, tau, size), unit)
    apply = functools.partial(_apply, x, best, size)
    below, curvature = _fall_to_minimum(apply, best.residual, unit)
    bound = float(best.mean_cosine) - 1 + regularization - below
    objective = float(max_cosine) - 1 + regularization
    return ObjectiveBound(bound, objective - bound, curvature, float(best.temperature))


def _best_fit(
    lagrangian: Callable[[float], "_Lagrangian"], unit: float
) -> "_Lagrangian":
    """The Lagrangian of the highest minimum, assuming a curvature of one ``unit``."""

    def minimum(power: float) -> float:
        fit = lagrangian(2.0**power)
        return float(fit.mean_cosine - fit.residual_square / (2 * unit))

    minima = {power: minimum(power) for power in _COARSE_POWERS}
    for step in _FINER:
        best = max(minima, key=minima.get)
        minima |= {power: minimum(power) for power in (best - step, best + step)}
    return lagrangian(2.0 ** max(minima, key=minima.get))


class _Lagrangian(NamedTuple):
    """The Lagrangian around an arrangement; the weight of a pair is a function of its
    cosine, ``level`` and ``temperature``, and never stored."""

    temperature: jax.Array
    level: jax.Array
    mean_cosine: jax.Array
    multipliers: jax.Array
    residual: jax.Array
    residual_square: jax.Array


@functools.partial(jax.jit, static_argnums=4)
def _lagrangian(
    x: jax.Array, pull: jax.Array, max_cosine: jax.Array, tau: jax.Array, size: int
) -> _Lagrangian:
    chex.assert_equal_shape((x, pull))
    chex.assert_rank((max_cosine, tau), 0)
    sums, total = _weighted_sums(x, x, max_cosine, tau, size)
    # Normalise: the weights of all pairs, each counted once, sum to 1.
    sums, level = sums / total, max_cosine + tau * jnp.log(total)
    multipliers = jnp.sum(x * (pull - sums), axis=1)
    residual = sums + multipliers[:, None] * x - pull
    return _Lagrangian(
        jnp.asarray(tau),
        level,
        jnp.sum(sums * x) / 2,
        multipliers,
        residual,
        jnp.sum(residual**2),
    )


@functools.partial(jax.jit, static_argnums=2)
def _apply(
    x: jax.Array, lagrangian: _Lagrangian, size: int, vectors: jax.Array
) -> jax.Array:
    """The Lagrangian's matrix times ``vectors`` ``[n, k]``."""
    sums, _ = _weighted_sums(x, vectors, lagrangian.level, lagrangian.temperature, size)
    return sums + lagrangian.multipliers[:, None] * vectors


def _weighted_sums(
    x: jax.Array, vectors: jax.Array, level: jax.Array, tau: jax.Array, size: int
) -> tuple[jax.Array, jax.Array]:
    """``Σ_j λ_ij v_j`` ``[n, k]``, and the sum of all weights, every pair once."""
    blocks = tiles.to_blocks(vectors, size)

    def visit(found: tuple, i: jax.Array, j: jax.Array, c: jax.Array) -> tuple:
        sums, total = found
        weights = pair_weights(c, level, tau)
        # A diagonal tile already holds both orders of its pairs.
        once = jnp.where(i == j, 0.0, 1.0)
        highest = jax.lax.Precision.HIGHEST
        sums = sums.at[i].add(jnp.matmul(weights, blocks[j], precision=highest))
        other = jnp.matmul(weights.T, blocks[i], precision=highest)
        share = jnp.where(i == j, 0.5, 1.0) * jnp.sum(weights)
        return sums.at[j].add(once * other), total + share

    found = jnp.zeros(blocks.shape), jnp.zeros(())
    sums, total = tiles.visit_pairs(visit, found, x, size)
    return sums.reshape(-1, sums.shape[2])[: len(x)], total


def _fall_to_minimum(
    apply: Callable[[jax.Array], jax.Array], residual: jax.Array, unit: float
) -> tuple[float, float]:
    """How far a quadratic function can fall from where its gradient is ``residual``.

    Conjugate gradients solve ``A z = residual``; their coefficients are those of a
    Lanczos process, whose smallest Ritz value is that of ``A``. For any ``z``, with the
    remainder ``e = residual - A z``,

        <r, A⁻¹ r> = 2 <r, z> - <z, A z> + <e, A⁻¹ e>,

    and the last term is at most ``|e|²`` over the smallest eigenvalue, so the result is
    an upper bound however early the iteration ends.

    Some random columns run along: a residual may be zero, or as symmetric as the
    arrangement, and Lanczos finds no eigenvector that its start has no share in.

    Returns:
      The fall, infinite where ``A`` is not positive definite, and the smallest
      eigenvalue as a multiple of ``unit``.
    """
    columns = residual.shape[1]
    probes = jax.random.normal(jax.random.key(0), (len(residual), _PROBES))
    probes *= jnp.maximum(jnp.std(residual), _TINY * unit)
    start = jnp.concatenate([residual, probes], axis=1)
    z, e = jnp.zeros_like(start), start
    direction, square = e, float(jnp.sum(e**2))
    first, steps, ratios = square, [], []
    while square > _ACCURACY**2 * first and len(steps) < _MAX_ITERATIONS:
        image = apply(direction)
        curvature = float(jnp.sum(direction * image))
        if curvature <= 0:
            lowest = curvature / float(jnp.sum(direction**2))
            return np.inf, lowest / unit
        step = square / curvature
        z, e = z + step * direction, e - step * image
        previous, square = square, float(jnp.sum(e**2))
        steps.append(step)
        ratios.append(square / previous)
        direction = e + ratios[-1] * direction
    lowest = _smallest_ritz_value(np.array(steps), np.array(ratios))
    solved = float(jnp.sum((z * (start + e))[:, :columns]))
    left = float(jnp.sum(e[:, :columns] ** 2))
    return (solved + left / lowest) / 2, lowest / unit


def _smallest_ritz_value(steps: np.ndarray, ratios: np.ndarray) -> float:
    """Of the tridiagonal matrix that conjugate gradients have built (Saad, Iterative
    Methods for Sparse Linear Systems, 2003, section 6.7.3)."""
    diagonal = 1 / steps
    diagonal[1:] += ratios[:-1] / steps[:-1]
    beside = np.sqrt(ratios[:-1]) / steps[:-1]
    matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
    return float(np.linalg.eigvalsh(matrix)[0])
