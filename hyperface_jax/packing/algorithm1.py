"""Algorithm 1 of HyperFace (Shahreza & Marcel, 2025): Adam on the exact objective.

Each iteration takes the gradient of the objective, one Adam step whose rate falls by
steps, and puts the rows back on the sphere. The gradient of the exact minimum touches
one pair, which is why this needs its 100,000 iterations.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hyperface_jax.neighbours import gallery_cache, hypersphere, ring
from hyperface_jax.packing import objective, schedule
from hyperface_jax.packing.problem import (
    Problem,
    closest_references,
    keep_away,
    nearest_reference,
    references_at,
)


class State(NamedTuple):
    """Where the descent is.

    Attributes:
      embeddings: ``[n, d]``, unit rows.
      opt_state: of optax's Adam.
      known: the nearest gallery rows.
    """

    embeddings: jax.Array
    opt_state: Any
    known: gallery_cache.NearestGallery


def init(x: jax.Array, problem: Problem, config: Any) -> State:
    """The state before the first step.

    Args:
      x: ``[n, d]``, unit rows, where to start.
      problem: what surrounds them.
      config: a :class:`hyperface_jax.PackingConfig`.
    """
    known = gallery_cache.start(x, problem.gallery, block_size=config.block_size)
    return State(x, _optimizer(config).init(x), known)


@functools.partial(jax.jit, static_argnames="config", donate_argnums=0)
def step(
    state: State, problem: Problem, moment: Any, *, config: Any
) -> tuple[State, objective.Terms]:
    """One iteration; the state is donated.

    Args:
      state: of :func:`init` or the previous step.
      problem: what surrounds the references.
      moment: unused, optax counts iterations itself.
      config: a :class:`hyperface_jax.PackingConfig`.

    Returns:
      The next state, and the terms of the objective before the step.
    """
    del moment
    x, block_size, gallery = state.embeddings, config.block_size, problem.gallery
    known = gallery_cache.refresh(state.known, x, gallery, block_size=block_size)
    pull = ring.take(gallery, known.row)
    fixed = problem.fixed
    if config.reduction == "min":
        # A single pair decides, so it alone is identified.
        cosine, row, others = closest_references(x, fixed, block_size=block_size)
    else:
        cosine, others = nearest_reference(x, fixed, block_size=block_size)
        row = None

    def loss(x: jax.Array) -> tuple[jax.Array, objective.Terms]:
        terms = objective.terms_of_pairs(
            x if row is None else ring.take(x, row),
            references_at(x, fixed, others),
            jnp.sum(x * pull, axis=1),
            regularization_weight=config.regularization_weight,
            reduction=config.reduction,
        )
        return terms.objective, terms._replace(mean_nearest_cosine=jnp.mean(cosine))

    gradient, terms = jax.grad(loss, has_aux=True)(x)
    # That of normalised rows, at rows that are normalised.
    gradient = hypersphere.tangent(x, gradient)
    updates, opt_state = _optimizer(config).update(gradient, state.opt_state, x)
    x = hypersphere.normalize_rows(optax.apply_updates(x, updates))
    return State(keep_away(x, problem, config), opt_state, known), terms


def _optimizer(config: Any) -> optax.GradientTransformation:
    return optax.adam(
        schedule.staircase_decay(
            config.step_size,
            decay_rate=config.decay_rate,
            transition_steps=config.decay_every,
        )
    )
