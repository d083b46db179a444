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


def solver(config: Any) -> tuple[Any, Any]:
    """Builds the two pure functions of the method.

    Args:
      config: a :class:`hyperface_jax.PackingConfig`.

    Returns:
      ``init(x, gallery) -> State`` and ``step(state, gallery, iteration) -> (State,
      Terms)``, the terms being those before the step. ``step`` is compiled and
      donates its state.
    """
    optimizer = optax.adam(
        schedule.staircase_decay(
            config.step_size,
            decay_rate=config.decay_rate,
            transition_steps=config.decay_every,
        )
    )
    block_size = config.block_size

    def init(x: jax.Array, gallery: jax.Array) -> State:
        known = tracking.start(x, gallery, block_size=block_size)
        return State(x, optimizer.init(x), known)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(
        state: State, gallery: jax.Array, iteration: jax.Array
    ) -> tuple[State, objective.Terms]:
        del iteration  # optax counts its own.
        x = state.embeddings
        known = tracking.refresh(state.known, x, gallery, block_size=block_size)
        _, nearest_other = similarity.nearest_other(x, block_size=block_size)

        def loss(x: jax.Array) -> tuple[jax.Array, objective.Terms]:
            terms = objective.terms_of_pairs(
                x,
                gallery,
                nearest_other,
                known.row,
                regularization_weight=config.regularization_weight,
                reduction=config.reduction,
            )
            return terms.objective, terms

        gradient, terms = jax.grad(loss, has_aux=True)(x)
        updates, opt_state = optimizer.update(gradient, state.opt_state, x)
        x = hypersphere.normalize_rows(optax.apply_updates(x, updates))
        return State(x, opt_state, known), terms

    return init, step
