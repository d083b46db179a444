r"""The default solver: smoothed repulsion, annealed, with steps that need no tuning.

The largest cosine of row i to another is smoothed at a temperature :math:`τ`, and the
largest of those over i, for the reduction ``min``, at an outer temperature :math:`T`:

.. math::
   s_i = τ \log \sum_{j ≠ i} e^{x_i · x_j / τ}, \qquad
   S = T \log \frac1n \sum_i e^{s_i / T}

:math:`τ` falls geometrically. :math:`T` equals it, which makes :math:`S` the smoothed
maximum over all pairs, except while some rows are far more crowded than others: those
would take all the force, and the rest fall back on the gallery, so :math:`T` is then a
fraction of the excess of the largest :math:`s_i` over their mean, within a limit that
falls to :math:`τ`. For ``mean_nearest``, :math:`T` is infinite and :math:`S` the mean.

Row i is moved along the tangent part of

.. math:: t_i = \frac{α g_i - f_i}{α + w_i κ_i / τ}

where :math:`g_i` is its nearest gallery row, :math:`f_i = \sum_j (w_{ij} + w_{ji}) x_j`
the gradient of :math:`n S` and :math:`w_i = \sum_j (w_{ij} + w_{ji})` its weight. The
denominator is the curvature: :math:`α` from the pull's projection on the sphere, and
from the exponentials the largest eigenvalue of :math:`\frac1τ \sum_j (w_{ij} + w_{ji})
x_j x_j^T`. With one neighbour that is :math:`w_i / τ`; with many it is smaller by far,
since they push in different directions: :math:`κ_i` adds the largest share that one
neighbour has in :math:`w_i` to twice the largest eigenvalue of the second moment of all
rows (neighbours are a sample of them, and twice, since both ends of a pair move when
all rows move along that axis). So each row takes a Newton-like step of its own, and one
step length suits every ``n``, ``d`` and ``α`` tried, 0 included. Momentum :math:`μ`
does the rest: this is the heavy ball (Polyak, 1964), stable up to steps of
:math:`2 (1 + μ)` over the curvature. No row moves by more than
:math:`τ / \sqrt{κ_i}` at once, which changes its exponents by about one: beyond that
the curvature is not known.

The best arrangement is found only if the descent settles at the temperatures where
order sets in, so :math:`τ` falls as slowly as the number of iterations permits; but
where the descent has settled, :math:`τ` falls faster, and the end comes sooner.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hyperface_jax.neighbours import gallery_cache, hypersphere
from hyperface_jax.neighbours.precision import PRECISIONS
from hyperface_jax.neighbours.repulsion import Repulsion, repulsion
from hyperface_jax.packing import objective, schedule
from hyperface_jax.packing.config import PackingConfig
from hyperface_jax.packing.enrolled_limit import keep_away
from hyperface_jax.packing.problem import (
    Problem,
    nearest_reference,
    pull_of_gallery,
    start_near_gallery,
)
from hyperface_jax.packing.solver import Countdown, Solver

_MOMENTUM = 0.8
# Longest step of a row, in radians, so that crowded rows don't jump across the sphere.
_MAX_STEP = 0.5
# Typical cosines between random rows are 1/sqrt(d): smoothing starts at that scale. It
# ends lower the more iterations there are, where its effect vanishes.
_INITIAL_TEMPERATURE = 0.7
_FINAL_TEMPERATURE = 0.3
_LOWEST_TEMPERATURE = 5e-4
# The excess of the largest smoothed maximum over their mean, in units of the outer
# temperature, as far as the limit of the latter permits; that starts at the excess of
# rows that begin crowded.
_EXCESS = 5.0
_INITIAL_OUTER_TEMPERATURE = 0.5
# The descent has settled when a Newton step would lower the smoothed objective by less
# than this times the temperature; then the temperature falls up to _MAX_HASTE times
# faster.
_SETTLED = 1e-6
_MAX_HASTE = 20.0
_TINY = 1e-12


class State(NamedTuple):
    """Where the descent is.

    Attributes:
      embeddings: ``[n, d]``, unit rows.
      velocity: ``[n, d]``, tangent.
      nearest: ``[n]``, the largest cosine of each row to another, one step ago.
      log_count: ``[n]``, the logarithm of how many pairs share that maximum, so that
        ``nearest + τ log_count`` is the smoothed maximum at any temperature near by.
      axis: ``[d]``, towards the first eigenvector of the rows' second moment.
      cooled: how far the temperature has fallen, in [0, 1].
      known: the nearest gallery rows.
    """

    embeddings: jax.Array
    velocity: jax.Array
    nearest: jax.Array
    log_count: jax.Array
    axis: jax.Array
    cooled: jax.Array
    known: gallery_cache.NearestGallery


class Annealed(Solver[State]):
    """Smoothed repulsion, annealed; see the module."""

    def init(self, x: jax.Array, problem: Problem, config: PackingConfig) -> State:
        known = start_near_gallery(x, problem, block_size=config.block_size)
        nearest, _ = nearest_reference(x, problem.fixed, block_size=config.block_size)
        # The sum of all rows is a good guess; the first row decides where it is zero.
        axis = jnp.sum(x, axis=0) + 1e-3 * x[0]
        axis = axis / (jnp.linalg.norm(axis) + _TINY)
        return State(
            x,
            jnp.zeros_like(x),
            nearest,
            jnp.zeros(len(x)),
            axis,
            jnp.zeros(()),
            known,
        )

    def is_settled(self, state: State, done: Any, config: PackingConfig) -> Any:
        """Whether the lowest temperature is reached: nothing is left to wait for."""
        del done, config
        return state.cooled >= 1

    def step(
        self,
        state: State,
        problem: Problem,
        countdown: Countdown,
        config: PackingConfig,
    ) -> tuple[State, objective.Terms]:
        x, alpha = state.embeddings, config.regularization_weight
        done = countdown.iteration.astype(jnp.float32)
        iterations = done + 1 + countdown.remaining
        tau, outer = _temperatures(state.cooled, x.shape[1], iterations)
        known, pull = pull_of_gallery(
            state.known, x, problem, block_size=config.block_size
        )
        found, state = _repulse(state, problem.fixed, tau, outer, config)
        share, axis = _largest_share(state, found, tau)
        descent = hypersphere.tangent(x, alpha * pull - found.force)
        newton = descent / (alpha + found.weight * share / tau + _TINY)[:, None]
        velocity = _MOMENTUM * state.velocity + config.step_size * newton
        velocity = hypersphere.tangent(x, velocity)
        velocity = _shortened(velocity, jnp.minimum(_MAX_STEP, tau / jnp.sqrt(share)))
        gain = jnp.mean(jnp.sum(descent * newton, axis=1)) / 2
        haste = jnp.clip(_SETTLED * tau / (gain + _TINY), 1.0, _MAX_HASTE)
        least = (1 - state.cooled) / jnp.maximum(1.0, countdown.remaining)
        cooled = state.cooled + jnp.maximum(haste / iterations, least)
        terms = objective.combine(
            jnp.max(state.nearest),
            jnp.mean(state.nearest),
            jnp.mean(1 - jnp.sum(x * pull, axis=1)),
            regularization_weight=alpha,
            reduction=config.reduction,
        )
        moved = keep_away(hypersphere.normalize_rows(x + velocity), problem, config)
        state = state._replace(
            embeddings=moved,
            velocity=velocity,
            axis=axis,
            cooled=jnp.minimum(1.0, cooled),
            known=known,
        )
        return state, terms


def _temperatures(
    cooled: jax.Array, d: int, iterations: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The temperature of pairs, and the highest of rows."""
    start = _INITIAL_TEMPERATURE / math.sqrt(d)
    end = jnp.maximum(_FINAL_TEMPERATURE / iterations, _LOWEST_TEMPERATURE)
    end = jnp.minimum(start, end / math.sqrt(d))
    return (
        schedule.geometric(start, end, cooled),
        schedule.geometric(_INITIAL_OUTER_TEMPERATURE, end, cooled),
    )


def _repulse(
    state: State,
    fixed: jax.Array,
    tau: jax.Array,
    highest: jax.Array,
    config: PackingConfig,
) -> tuple[Repulsion, State]:
    """The gradient of ``n S`` and its weights; updates the smoothed maxima."""
    smoothed = state.nearest + tau * state.log_count
    level = smoothed
    if config.reduction == "min":
        excess = jnp.max(smoothed) - jnp.mean(smoothed)
        outer = jnp.clip(excess / _EXCESS, tau, jnp.maximum(tau, highest))
        # n times a row's share in the outer maximum, as a shift of the level at which
        # its pairs weigh 1.
        log_share = jax.nn.log_softmax(smoothed / outer) + math.log(len(smoothed))
        level = smoothed - tau * log_share
    found = repulsion(
        state.embeddings,
        level,
        tau,
        fixed=fixed,
        block_size=config.block_size,
        precision=PRECISIONS[config.matmul_precision],
    )
    smoothed = level + tau * jnp.log(jnp.maximum(found.row_weight, 1e-30))
    log_count = (smoothed - found.nearest) / tau
    return found, state._replace(nearest=found.nearest, log_count=log_count)


def _largest_share(
    state: State, found: Repulsion, tau: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The ``κ`` of each row, in (0, 1], and the axis after a step of the power method.

    The largest eigenvalue of a second moment in ``d`` dimensions is at least ``1 / d``.
    """
    x = state.embeddings
    weight = found.weight / (jnp.sum(found.weight) + _TINY)
    highest = jax.lax.Precision.HIGHEST
    along = jnp.matmul(x, state.axis, precision=highest)
    image = jnp.matmul(weight * along, x, precision=highest)
    eigenvalue = jnp.linalg.norm(image)
    # exp(-log_count) is the share of the nearest in the smoothed maximum.
    share = jnp.exp(-state.log_count) + 2 * jnp.maximum(eigenvalue, 1 / x.shape[1])
    return jnp.minimum(share, 1.0), image / (eigenvalue + _TINY)


def _shortened(vectors: jax.Array, most: jax.Array) -> jax.Array:
    """Limits the lengths of rows to ``most`` ``[n]``."""
    length = jnp.linalg.norm(vectors, axis=1)
    return vectors * jnp.minimum(1.0, most / (length + _TINY))[:, None]
