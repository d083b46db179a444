"""Algorithm 2 of HyperFace: Algorithm 1 on a random batch of references at a time.

Where ``n²`` products an iteration are too many. Each iteration draws a batch, measures
distances within the batch or from the batch to all references, and moves the rows of
the batch alone.
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
    keep_away,
    nearest_reference,
    nearest_reference_of,
    references_at,
)


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


def init(x: jax.Array, problem: Problem, config: Any) -> State:
    """The state before the first step.

    Args:
      x: ``[n, d]``, unit rows, where to start.
      problem: what surrounds them; the gallery is searched as rows are visited.
      config: a :class:`hyperface_jax.PackingConfig`.
    """
    del problem, config
    return State(x, jax.vmap(optax.scale_by_adam().init)(x), gallery_cache.unknown(x))


@functools.partial(jax.jit, static_argnames="config", donate_argnums=0)
def step(
    state: State, problem: Problem, moment: Any, *, config: Any
) -> tuple[State, objective.Terms]:
    """One iteration; the state is donated.

    Args:
      state: of :func:`init` or the previous step.
      problem: what surrounds the references.
      moment: its iteration decides the batch and the rate.
      config: a :class:`hyperface_jax.PackingConfig`.

    Returns:
      The next state, and the terms before the step, of the batch alone: estimates.
    """
    everything, fixed = state.embeddings, problem.fixed
    key = jax.random.fold_in(jax.random.key(config.seed), moment.iteration)
    size = min(config.batch_size, len(everything))
    rows = jax.random.choice(key, len(everything), (size,), replace=False)
    x, opt_state, known = jax.tree.map(lambda a: ring.take(a, rows), state)
    known = gallery_cache.refresh(
        known, x, problem.gallery, block_size=config.block_size
    )
    pull = ring.take(problem.gallery, known.row)
    within = config.batch_distances == "batch"
    if within:
        _, nearest = nearest_reference(x, fixed, block_size=config.block_size)
    else:
        _, nearest = nearest_reference_of(
            rows, everything, fixed, block_size=config.block_size
        )

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
    # That of normalised rows, at rows that are normalised.
    gradient = hypersphere.tangent(x, gradient)
    updates, opt_state = jax.vmap(optax.scale_by_adam().update)(gradient, opt_state)
    rate = schedule.staircase_decay(
        config.step_size,
        decay_rate=config.decay_rate,
        transition_steps=config.decay_every,
    )(moment.iteration)
    x = hypersphere.normalize_rows(x - rate * updates)
    moved = State(keep_away(x, problem, config), opt_state, known)
    return jax.tree.map(lambda a, b: a.at[rows].set(b), state, moved), terms
