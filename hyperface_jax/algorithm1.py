"""Algorithm 1 of HyperFace (Shahreza & Marcel, 2025): Adam on the exact objective.

Each iteration takes the gradient of the objective, one Adam step whose rate falls by
steps, and puts the rows back on the sphere. The gradient of the exact minimum touches
one pair, which is why this needs its 100,000 iterations.
"""

import functools
from typing import Any, NamedTuple

import jax
import optax

from hyperface_jax import hypersphere, objective, schedule, similarity, tracking


class State(NamedTuple):
    """Where the descent is.

    Attributes:
      embeddings: ``[n, d]``, unit rows.
      opt_state: of optax's Adam.
      known: the nearest gallery rows.
    """

    embeddings: jax.Array
    opt_state: Any
    known: tracking.NearestGallery


def init(x: jax.Array, gallery: jax.Array, config: Any) -> State:
    """The state before the first step.

    Args:
      x: ``[n, d]``, unit rows, where to start.
      gallery: ``[m, d]``, unit rows.
      config: a :class:`hyperface_jax.PackingConfig`.
    """
    known = tracking.start(x, gallery, block_size=config.block_size)
    return State(x, _optimizer(config).init(x), known)


@functools.partial(jax.jit, static_argnames="config", donate_argnums=0)
def step(
    state: State, gallery: jax.Array, iteration: jax.Array, *, config: Any
) -> tuple[State, objective.Terms]:
    """One iteration; the state is donated.

    Args:
      state: of :func:`init` or the previous step.
      gallery: ``[m, d]``, unit rows.
      iteration: unused, optax counts its own.
      config: a :class:`hyperface_jax.PackingConfig`.

    Returns:
      The next state, and the terms of the objective before the step.
    """
    del iteration
    x, block_size = state.embeddings, config.block_size
    known = tracking.refresh(state.known, x, gallery, block_size=block_size)
    _, nearest_other = similarity.nearest_other(x, block_size=block_size)

    def loss(x: jax.Array) -> tuple[jax.Array, objective.Terms]:
        x = hypersphere.normalize_rows(x)
        terms = objective.terms_of_pairs(
            x,
            x[nearest_other],
            gallery[known.row],
            regularization_weight=config.regularization_weight,
            reduction=config.reduction,
        )
        return terms.objective, terms

    gradient, terms = jax.grad(loss, has_aux=True)(x)
    updates, opt_state = _optimizer(config).update(gradient, state.opt_state, x)
    x = hypersphere.normalize_rows(optax.apply_updates(x, updates))
    return State(x, opt_state, known), terms


def _optimizer(config: Any) -> optax.GradientTransformation:
    return optax.adam(
        schedule.staircase_decay(
            config.step_size,
            decay_rate=config.decay_rate,
            transition_steps=config.decay_every,
        )
    )
