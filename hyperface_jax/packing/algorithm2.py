"""Algorithm 2 of HyperFace: Algorithm 1 on a random batch of references at a time.

Where ``n²`` products an iteration are too many. Each iteration draws a batch, measures
distances within the batch or from the batch to all references, and moves the rows of
the batch alone.
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
    nearest_reference,
    nearest_reference_of,
    pull_of_gallery,
    references_at,
)
from hyperface_jax.packing.solver import Countdown, Solver


class State(NamedTuple):
    """Where the descent is.

    Attributes:
      embeddings: ``[n, d]``, unit rows.
      opt_state: of Adam, one state a row: the moments of a row, and the number of
        steps that correct their bias, are those of its own visits.
      known: the nearest gallery rows.
    """

    embeddings: jax.Array
    opt_state: Any
    known: gallery_cache.NearestGallery


class Algorithm2(Solver[State]):
    """Adam on random batches; see the module.

    The terms of a step are those of its batch alone: estimates.
    """

    def init(self, x: jax.Array, problem: Problem, config: PackingConfig) -> State:
        # The gallery is searched as rows are visited.
        del problem, config
        return State(
            x, jax.vmap(optax.scale_by_adam().init)(x), gallery_cache.unknown(x)
        )

    def step(
        self,
        state: State,
        problem: Problem,
        countdown: Countdown,
        config: PackingConfig,
    ) -> tuple[State, objective.Terms]:
        everything, fixed = state.embeddings, problem.fixed
        key = jax.random.fold_in(jax.random.key(config.seed), countdown.iteration)
        size = min(config.batch_size, len(everything))
        rows = jax.random.choice(key, len(everything), (size,), replace=False)
        x, opt_state, known = jax.tree.map(lambda a: ring.take(a, rows), state)
        known, pull = pull_of_gallery(known, x, problem, block_size=config.block_size)
        search = {
            "block_size": config.block_size,
            "precision": PRECISIONS[config.matmul_precision],
        }
        within = config.batch_distances == "batch"
        if within:
            _, nearest = nearest_reference(x, fixed, **search)
        else:
            _, nearest = nearest_reference_of(rows, everything, fixed, **search)

        def loss(x: jax.Array) -> tuple[jax.Array, objective.Terms]:
            pool = x if within else everything.at[rows].set(x)
            terms = objective.terms_of_pairs(
                x,
                references_at(pool, fixed, nearest),
                jnp.sum(x * pull, axis=1),
                regularization_weight=config.regularization_weight,
                reduction=config.reduction,
            )
            return terms.objective, terms

        gradient, terms = jax.grad(loss, has_aux=True)(x)
        # Differentiating through the normalisation at unit rows leaves the tangent
        # part.
        gradient = hypersphere.tangent(x, gradient)
        updates, opt_state = jax.vmap(optax.scale_by_adam().update)(gradient, opt_state)
        rate = schedule.staircase_decay(
            config.step_size,
            decay_rate=config.decay_rate,
            transition_steps=config.decay_every,
        )(countdown.iteration)
        x = hypersphere.normalize_rows(x - rate * updates)
        moved = State(keep_away(x, problem, config), opt_state, known)
        return jax.tree.map(lambda a, b: a.at[rows].set(b), state, moved), terms
