"""Algorithm 1 of HyperFace (Shahreza & Marcel, 2025): Adam on the exact objective.

Each iteration takes the gradient of the objective, one Adam step whose rate falls by
steps, and puts the rows back on the sphere. The gradient of the exact minimum touches
one pair, which is why this needs its 100,000 iterations.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hyperface_jax.neighbours import gallery_cache, hypersphere, ring
from hyperface_jax.neighbours.precision import PRECISIONS
from hyperface_jax.packing import objective, schedule
from hyperface_jax.packing.config import PackingConfig
from hyperface_jax.packing.enrolled_limit import keep_away
from hyperface_jax.packing.problem import (
    Problem,
    closest_references,
    nearest_reference,
    pull_of_gallery,
    references_at,
    start_near_gallery,
)
from hyperface_jax.packing.solver import Countdown, Solver


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


class Algorithm1(Solver[State]):
    """Adam on the exact objective; see the module."""

    def init(self, x: jax.Array, problem: Problem, config: PackingConfig) -> State:
        known = start_near_gallery(x, problem, block_size=config.block_size)
        return State(x, _optimizer(config).init(x), known)

    def step(
        self,
        state: State,
        problem: Problem,
        countdown: Countdown,
        config: PackingConfig,
    ) -> tuple[State, objective.Terms]:
        del countdown  # Optax counts the iterations.
        x, fixed = state.embeddings, problem.fixed
        known, pull = pull_of_gallery(
            state.known, x, problem, block_size=config.block_size
        )
        search = {
            "block_size": config.block_size,
            "precision": PRECISIONS[config.matmul_precision],
        }
        if config.reduction == "min":
            # A single pair decides, so it alone is identified.
            cosine, row, others = closest_references(x, fixed, **search)
        else:
            cosine, others = nearest_reference(x, fixed, **search)
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
        # Differentiating through the normalisation at unit rows leaves the tangent
        # part.
        gradient = hypersphere.tangent(x, gradient)
        updates, opt_state = _optimizer(config).update(gradient, state.opt_state, x)
        x = hypersphere.normalize_rows(optax.apply_updates(x, updates))
        return State(keep_away(x, problem, config), opt_state, known), terms


def _optimizer(config: PackingConfig) -> optax.GradientTransformation:
    return optax.adam(
        schedule.staircase_decay(
            config.step_size,
            decay_rate=config.decay_rate,
            transition_steps=config.decay_every,
        )
    )
