"""The compiled entry points of the core, and small arguments for each."""

import functools

import jax
import jax.export
import jax.numpy as jnp

from hyperface_jax import PackingConfig
from hyperface_jax.bounds import optimality
from hyperface_jax.neighbours import gallery_cache, repulsion, search, similarity
from hyperface_jax.packing import (
    enrolled_limit,
    objective,
    packing,
)
from hyperface_jax.packing.problem import Problem
from hyperface_jax.packing.solver import Span, advance
from tests.hyperface_jax import packing_oracles

N, D, BLOCK = 400, 8, 32
X = jnp.asarray(packing_oracles.random_rows(N, D))
# Rows of its own: the way out of a row that coincides is a matter of rounding.
PROBLEM = Problem(
    *(jnp.asarray(packing_oracles.random_rows(n, D, seed=n)) for n in (N + 1, 100, 50))
)


def solver_step(method, **settings):
    """One step of a solver, as packing dispatches it."""
    config = PackingConfig(method=method, block_size=BLOCK, batch_size=90, **settings)
    solver = packing.SOLVERS[method]
    state = solver.init(jnp.copy(X), PROBLEM, config)
    dispatch = functools.partial(advance, solver=solver, config=config)
    return dispatch, state, PROBLEM, Span.of(first=1, count=1, last=9)


ENTRY_POINTS = {
    "nearest": lambda: (
        functools.partial(similarity.nearest, block_size=BLOCK),
        X,
        X[:300],
    ),
    "nearest_other": lambda: (
        functools.partial(similarity.nearest_other, block_size=BLOCK),
        X,
    ),
    "nearest_cosine": lambda: (
        functools.partial(similarity.nearest_cosine, block_size=BLOCK),
        X,
    ),
    "refresh": lambda: (
        functools.partial(gallery_cache.refresh, block_size=BLOCK),
        gallery_cache.unknown(X),
        X,
        X,
    ),
    "repulsion": lambda: (
        functools.partial(repulsion.repulsion, block_size=BLOCK),
        X,
        jnp.zeros(N),
        0.1,
    ),
    "lagrangian": lambda: (
        lambda *arrays: optimality._lagrangian(*arrays, BLOCK),
        X,
        X,
        jnp.float32(0.9),
        jnp.float32(0.1),
    ),
    "lagrangian's matrix": lambda: (
        lambda x, found, vectors: optimality._apply(x, found, BLOCK, vectors),
        X,
        optimality._lagrangian(X, X, jnp.float32(0.9), jnp.float32(0.1), BLOCK),
        X,
    ),
    "top_k": lambda: (
        lambda *arrays: search._top_k(*arrays, BLOCK),
        X[:20],
        X,
        jnp.zeros((20, 3)),
        jnp.zeros((20, 3), jnp.int32),
    ),
    "objective": lambda: (
        jax.grad(
            lambda x, gallery: (
                objective.packing_objective(
                    x, gallery, reduction="mean_nearest", block_size=BLOCK
                ).objective
            )
        ),
        X,
        X[:300],
    ),
    "duplicates": lambda: (
        functools.partial(
            packing._part_duplicates, config=PackingConfig(block_size=BLOCK)
        ),
        X,
        Problem(X, X[:100], X[:50]),
    ),
    "enrolment": lambda: (
        functools.partial(
            enrolled_limit._sweep, config=PackingConfig(block_size=BLOCK)
        ),
        X,
        PROBLEM,
        jnp.float32(0.3),
    ),
    **{
        f"{method} step": functools.partial(solver_step, method)
        for method in packing.SOLVERS
    },
}


@functools.cache
def entry_point(name):
    """The function and its arguments."""
    return ENTRY_POINTS[name]()
