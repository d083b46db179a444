r"""The default solver: smoothed repulsion, annealed, with steps that need no tuning.

The largest cosine of row i to another is smoothed at a temperature :math:`τ`, and the
largest of those over i, for the reduction ``min``, at an outer temperature :math:`T`:

.. math::
   s_i = τ \log \sum_{j ≠ i} e^{x_i · x_j / τ}, \qquad
   S = T \log \frac1n \sum_i e^{s_i / T}

Both fall geometrically. At a high :math:`T`, :math:`S` is the mean of :math:`s_i`, so
all rows move apart at once; when :math:`T` reaches :math:`τ`, it is the smoothed
maximum over all pairs. (Starting there instead, two rows that begin close together
would take all the force, and the others fall back on the gallery.) For
``mean_nearest``, :math:`T` stays infinite.

Row i is moved along the tangent part of

.. math:: t_i = \frac{α g_i - f_i}{α + w_i / τ}

where :math:`g_i` is its nearest gallery row, :math:`f_i = \sum_j (w_{ij} + w_{ji}) x_j`
the gradient of :math:`n S`, :math:`w_i = \sum_j (w_{ij} + w_{ji})` its weight. The
denominator is the curvature along the row's own directions: :math:`α` from the pull's
projection on the sphere, :math:`w_i / τ` from the exponentials. So each row takes a
Newton-like step of its own and a step length of 1 suits every ``n``, ``d`` and ``α``, 0
included; momentum does the rest.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hyperface_jax import hypersphere, objective, ring, schedule, tracking
from hyperface_jax.problem import Problem, keep_away, nearest_reference
from hyperface_jax.repulsion import Repulsion, repulsion

_MOMENTUM = 0.9
# Longest step of a row, in radians: a row that starts crowded must not jump across.
_MAX_STEP = 0.3
# Typical cosines between random rows are 1/sqrt(d); start smoothing at that scale and
# end where the smoothing no longer shows in the objective.
_INITIAL_TEMPERATURE = 0.7
_FINAL_TEMPERATURE = 0.007
# Cosines of rows that start crowded differ by about this from those of the others.
_INITIAL_SPREAD = 0.5


class State(NamedTuple):
    """Where the descent is.

    Attributes:
      embeddings: ``[n, d]``, unit rows.
      velocity: ``[n, d]``, tangent.
      nearest: ``[n]``, the largest cosine of each row to another, one step ago.
      log_count: ``[n]``, the logarithm of how many pairs share that maximum, so that
        ``nearest + τ log_count`` is the smoothed maximum at any temperature near by.
      known: the nearest gallery rows.
    """

    embeddings: jax.Array
    velocity: jax.Array
    nearest: jax.Array
    log_count: jax.Array
    known: tracking.NearestGallery


def init(x: jax.Array, problem: Problem, config: Any) -> State:
    """The state before the first step.

    Args:
      x: ``[n, d]``, unit rows, where to start.
      problem: what surrounds them.
      config: a :class:`hyperface_jax.PackingConfig`.
    """
    known = tracking.start(x, problem.gallery, block_size=config.block_size)
    nearest, _ = nearest_reference(x, problem.fixed, block_size=config.block_size)
    return State(x, jnp.zeros_like(x), nearest, jnp.zeros(len(x)), known)


@functools.partial(jax.jit, static_argnames="config", donate_argnums=0)
def step(
    state: State, problem: Problem, moment: Any, *, config: Any
) -> tuple[State, objective.Terms]:
    """One iteration; the state is donated.

    Args:
      state: of :func:`init` or the previous step.
      problem: what surrounds the references.
      moment: its fraction decides the temperatures.
      config: a :class:`hyperface_jax.PackingConfig`.

    Returns:
      The next state, and the terms of the objective before the step.
    """
    x, alpha = state.embeddings, config.regularization_weight
    tau, outer = _temperatures(moment.fraction, x.shape[1], config)
    known = tracking.refresh(
        state.known, x, problem.gallery, block_size=config.block_size
    )
    pull = ring.take(problem.gallery, known.row)
    found, state = _repulse(state, problem.fixed, tau, outer, config.block_size)
    direction = hypersphere.tangent(x, alpha * pull - found.force)
    direction = direction / (alpha + found.weight / tau + 1e-12)[:, None]
    velocity = _MOMENTUM * state.velocity + config.step_size * direction
    velocity = hypersphere.tangent(x, velocity)
    length = jnp.linalg.norm(velocity, axis=1, keepdims=True)
    velocity = velocity * jnp.minimum(1.0, _MAX_STEP / (length + 1e-12))
    terms = objective.combine(
        jnp.max(state.nearest),
        jnp.mean(state.nearest),
        jnp.mean(1 - jnp.sum(x * pull, axis=1)),
        regularization_weight=alpha,
        reduction=config.reduction,
    )
    moved = keep_away(hypersphere.normalize_rows(x + velocity), problem, config)
    return state._replace(embeddings=moved, velocity=velocity, known=known), terms


def _temperatures(
    fraction: jax.Array, d: int, config: Any
) -> tuple[jax.Array, jax.Array | float]:
    """The temperature of pairs, and the outer one, of rows."""
    start, end = (t / math.sqrt(d) for t in (_INITIAL_TEMPERATURE, _FINAL_TEMPERATURE))
    tau = schedule.geometric(start, end, fraction)
    if config.reduction == "mean_nearest":
        return tau, math.inf
    return tau, schedule.geometric(_INITIAL_SPREAD, end, fraction)


def _repulse(
    state: State,
    fixed: jax.Array,
    tau: jax.Array,
    outer: jax.Array | float,
    block_size: int | None,
) -> tuple[Repulsion, State]:
    """The gradient of ``n S`` and its weights; updates the smoothed maxima."""
    smoothed = state.nearest + tau * state.log_count
    # n times a row's share in the outer maximum, as a shift of the level at which its
    # pairs weigh 1.
    share = jax.nn.log_softmax(smoothed / outer) + math.log(len(smoothed))
    level = smoothed - tau * share
    found = repulsion(state.embeddings, level, tau, fixed=fixed, block_size=block_size)
    smoothed = level + tau * jnp.log(jnp.maximum(found.row_weight, 1e-30))
    log_count = (smoothed - found.nearest) / tau
    return found, state._replace(nearest=found.nearest, log_count=log_count)
