"""Algorithm 2: its batches, what they move, and its agreement with Algorithm 1."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from hyperface_jax import PackingConfig, pack_embeddings
from hyperface_jax.packing import algorithm2
from hyperface_jax.packing.config import BATCH_DISTANCES
from hyperface_jax.packing.objective import Terms
from hyperface_jax.packing.problem import Problem
from hyperface_jax.packing.solver import Span, advance
from tests.hyperface_jax import packing_oracles

SOLVER = algorithm2.Algorithm2()
INITIAL = packing_oracles.clustered_rows(25, 16)
GALLERY = packing_oracles.clustered_rows(40, 16, seed=1)
CONFIG = PackingConfig(
    method="algorithm2", num_iterations=60, decay_every=20, batch_size=25, block_size=9
)


def start(config: PackingConfig) -> tuple[algorithm2.State, Problem]:
    nothing = jnp.zeros((0, 16))
    problem = Problem(jnp.asarray(GALLERY), nothing, nothing)
    state = SOLVER.init(jnp.asarray(INITIAL), problem, config)
    return state, problem


def step(state: algorithm2.State, problem: Problem, iteration: int, config):
    """The next state, and the terms before the step."""
    span = Span.of(iteration, count=1, last=iteration + 9)
    state, steps = advance(state, problem, span, solver=SOLVER, config=config)
    return state, Terms(*steps.terms[0])


def adam_state(state: algorithm2.State) -> packing_oracles.AdamState:
    """A copy, in double precision; all rows were visited equally often."""
    adam = state.opt_state
    arrays = (np.array(a, np.float64) for a in (state.embeddings, adam.mu, adam.nu))
    [count] = np.unique(adam.count)
    return packing_oracles.AdamState(*arrays, int(count))


@pytest.mark.parametrize("distances", BATCH_DISTANCES)
def test_a_batch_of_all_is_algorithm1(distances):
    config = dataclasses.replace(CONFIG, batch_distances=distances)
    state, problem = start(config)
    gallery, compared = GALLERY.astype(np.float64), []
    for iteration in range(config.num_iterations):
        before = adam_state(state)
        state, terms = step(state, problem, iteration, config)
        compared.append(
            packing_oracles.check_adam_step(
                before,
                adam_state(state),
                gallery,
                rate=0.01 * 0.75 ** (iteration // 20),
                reduction="min",
            )
        )
        expected = packing_oracles.dense_objective(before.rows, gallery, 0.5, "min")
        assert float(terms.objective) == pytest.approx(expected, abs=2e-6)
    assert np.mean(compared) > 0.9
    packed = pack_embeddings(INITIAL, GALLERY, config)
    np.testing.assert_array_equal(packed.embeddings, state.embeddings)


@pytest.mark.parametrize("distances", BATCH_DISTANCES)
def test_only_the_batch_moves_and_its_terms_are_the_batch_s(distances):
    config = dataclasses.replace(CONFIG, batch_size=7, batch_distances=distances)
    state, problem = start(config)
    moved_ever = np.zeros(25, bool)
    for iteration in range(30):
        before = np.array(state.embeddings)
        state, terms = step(state, problem, iteration, config)
        moved = (np.asarray(state.embeddings) != before).any(axis=1)
        assert moved.sum() == 7
        moved_ever |= moved
        batch = before[moved]
        if distances == "batch":
            cosine = batch @ batch.T - 3 * np.eye(7)
        else:
            cosine = batch @ before.T
            cosine[np.arange(7), np.flatnonzero(moved)] = -3
        assert float(terms.max_cosine) == pytest.approx(cosine.max(), abs=1e-6)
        assert float(terms.mean_nearest_cosine) == pytest.approx(
            cosine.max(axis=1).mean(), abs=1e-6
        )
        assert float(terms.regularization) == pytest.approx(
            (1 - batch @ GALLERY.T).min(axis=1).mean(), abs=1e-6
        )
    assert moved_ever.all()


def test_it_spreads_and_depends_on_the_seed():
    config = dataclasses.replace(
        CONFIG,
        batch_size=10,
        num_iterations=400,
        decay_every=50,
        reduction="mean_nearest",
        batch_distances="all",
    )
    found = pack_embeddings(INITIAL, GALLERY, config)
    assert found.objective < float(found.history["objective"][0])
    other = pack_embeddings(INITIAL, GALLERY, dataclasses.replace(config, seed=1))
    assert (other.embeddings != found.embeddings).any()


def test_a_batch_that_is_far_apart_proves_nothing():
    """Two of 200 points in three dimensions are nearly always below the bound."""
    rows = packing_oracles.random_rows(200, 3)
    config = PackingConfig(method="algorithm2", num_iterations=5, batch_size=2)
    assert pack_embeddings(rows, rows, config).stopped.startswith("finished")
