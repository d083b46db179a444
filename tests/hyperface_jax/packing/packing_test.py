"""Packing as a whole: proven optima, invariances, refusals."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from hyperface_jax import (
    InputError,
    PackingConfig,
    load_embeddings,
    pack_embeddings,
    save_embeddings,
)
from hyperface_jax.cli import pack
from hyperface_jax.packing import algorithm1, packing
from hyperface_jax.packing.config import REDUCTIONS
from hyperface_jax.packing.objective import Terms
from hyperface_jax.packing.problem import (
    Problem,
    nearest_reference,
    start_near_gallery,
)
from hyperface_jax.packing.solver import Solver, Span, advance
from tests.hyperface_jax import packing_oracles

FREE = PackingConfig(regularization_weight=0)


@pytest.mark.parametrize(
    ("n", "d", "cosine"),
    [
        (4, 3, -1 / 3),  # tetrahedron
        (12, 3, 1 / math.sqrt(5)),  # icosahedron
        (10, 2, math.cos(math.pi / 5)),  # decagon
        (16, 5, 1 / 5),  # half cube
        (27, 6, 1 / 4),  # lines on a cubic surface
        (20, 10, 0),  # cross-polytope
        (11, 10, -1 / 10),  # simplex
    ],
)
def test_annealed_reaches_proven_optima(n, d, cosine):
    initial = packing_oracles.random_rows(n, d)
    result = pack_embeddings(initial, None, FREE)
    assert result.max_cosine == pytest.approx(cosine, abs=1e-4)
    assert result.max_cosine >= result.bound - 1e-6
    assert result.gap == result.max_cosine - result.bound
    assert "regularization" not in result.history, "there is no gallery"


@pytest.mark.parametrize("method", ["annealed", "algorithm1"])
@pytest.mark.parametrize("reduction", ["min", "mean_nearest"])
def test_figures_are_those_of_the_embeddings(method, reduction):
    initial = packing_oracles.clustered_rows(30, 8)
    gallery = packing_oracles.clustered_rows(50, 8, seed=1)
    config = PackingConfig(
        method=method, reduction=reduction, num_iterations=40, block_size=7
    )
    result = pack_embeddings(initial, gallery, config)
    assert result.embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(result.embeddings, axis=1), 1, atol=1e-6)
    x, g = result.embeddings.astype(float), gallery.astype(float)
    assert result.objective == pytest.approx(
        packing_oracles.dense_objective(x, g, 0.5, reduction), abs=1e-6
    )
    cosine = x @ x.T - 3 * np.eye(30)
    assert result.max_cosine == pytest.approx(cosine.max(), abs=1e-6)
    assert result.mean_nearest_cosine == pytest.approx(
        cosine.max(axis=1).mean(), abs=1e-6
    )
    assert result.regularization == pytest.approx(
        (1 - x @ g.T).min(axis=1).mean(), abs=1e-6
    )
    before = packing_oracles.dense_objective(initial.astype(float), g, 0.5, reduction)
    assert result.history["objective"].shape == (40,)
    assert result.history["objective"][0] == pytest.approx(before, abs=1e-5)
    if method == "annealed":
        assert result.objective < before


def adam_state(state: algorithm1.State) -> packing_oracles.AdamState:
    """A copy, in double precision: a step overwrites what it is given."""
    adam = state.opt_state[0]
    arrays = (np.array(a, np.float64) for a in (state.embeddings, adam.mu, adam.nu))
    return packing_oracles.AdamState(*arrays, int(adam.count))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_steps_of_algorithm1_equal_a_dense_reference(reduction):
    """The rate falls within them, and the nearest pairs change many times."""
    initial = packing_oracles.clustered_rows(25, 16)
    gallery = packing_oracles.clustered_rows(40, 16, seed=1)
    config = PackingConfig(
        method="algorithm1",
        reduction=reduction,
        num_iterations=120,
        decay_every=30,
        block_size=9,
    )
    around = Problem(jnp.asarray(gallery), *2 * [jnp.zeros((0, 16))])
    solver = algorithm1.Algorithm1()
    state = solver.init(jnp.asarray(initial), around, config)
    exact, compared = gallery.astype(np.float64), []
    for iteration in range(config.num_iterations):
        before = adam_state(state)
        span = Span.of(iteration, count=1, last=config.num_iterations - 1)
        state, steps = advance(state, around, span, solver=solver, config=config)
        compared.append(
            packing_oracles.check_adam_step(
                before,
                adam_state(state),
                exact,
                rate=0.01 * 0.75 ** (iteration // 30),
                reduction=reduction,
            )
        )
        expected = packing_oracles.dense_objective(before.rows, exact, 0.5, reduction)
        assert float(steps.terms[0, 0]) == pytest.approx(expected, abs=2e-6)
    assert np.mean(compared) > 0.9
    # These steps are what packing takes.
    packed = pack_embeddings(initial, gallery, config)
    np.testing.assert_array_equal(packed.embeddings, state.embeddings)


def test_rotated_and_permuted_input_gives_rotated_and_permuted_output():
    initial = packing_oracles.clustered_rows(20, 6)
    gallery = packing_oracles.clustered_rows(30, 6, seed=1)
    config = PackingConfig(num_iterations=30)
    expected = pack_embeddings(initial, gallery, config).embeddings
    random = np.random.default_rng(0)
    rotation = np.linalg.qr(random.standard_normal((6, 6)))[0].astype(np.float32)
    rotated = pack_embeddings(initial @ rotation, gallery @ rotation, config)
    np.testing.assert_allclose(rotated.embeddings, expected @ rotation, atol=1e-3)
    order = random.permutation(20)
    permuted = pack_embeddings(initial[order], gallery[::-1], config)
    np.testing.assert_allclose(permuted.embeddings, expected[order], atol=1e-3)


def test_same_settings_same_bits():
    initial = packing_oracles.clustered_rows(20, 6)
    runs = [pack_embeddings(initial, initial, PackingConfig(seed=3)) for _ in range(2)]
    np.testing.assert_array_equal(runs[0].embeddings, runs[1].embeddings)


def test_weight_decides_how_near_the_gallery_references_stay():
    initial = packing_oracles.clustered_rows(40, 10)
    near, far = (
        pack_embeddings(initial, initial, PackingConfig(regularization_weight=weight))
        for weight in (20.0, 0.5)
    )
    assert near.regularization < far.regularization
    assert near.max_cosine > far.max_cosine
    free = pack_embeddings(initial, initial, FREE)
    assert free.max_cosine < far.max_cosine
    assert free.regularization > far.regularization


def test_equal_rows_are_parted():
    initial = packing_oracles.random_rows(10, 6)
    initial[3:6] = initial[2]
    result = pack_embeddings(initial, initial)
    assert result.duplicates == 3
    assert result.max_cosine < 0.5


def test_many_equal_rows_are_parted_across_tiles():
    initial = packing_oracles.random_rows(40, 70, seed=4)
    initial[5:] = initial[5]
    config = PackingConfig(num_iterations=1, block_size=7)
    result = pack_embeddings(initial, initial, config)
    assert result.duplicates == 34
    assert result.history["max_cosine"][0] < 1 - 1e-5


def test_a_crowded_start_spreads():
    """Many starts near few gallery rows must not collapse on them."""
    gallery = packing_oracles.random_rows(20, 32)
    noise = packing_oracles.random_rows(60, 32, seed=1)
    initial = np.repeat(gallery, 3, axis=0) + 0.1 * noise
    initial /= np.linalg.norm(initial, axis=1, keepdims=True)
    result = pack_embeddings(initial, gallery)
    assert result.max_cosine < 0.25


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4"])
def test_any_floating_dtype_and_layout(dtype):
    initial = packing_oracles.random_rows(6, 4)
    config = PackingConfig(num_iterations=3)
    expected = pack_embeddings(initial, initial, config)
    odd = np.asfortranarray(initial.astype(dtype))
    found = pack_embeddings(odd, jnp.asarray(initial), config)
    tolerance = 1e-2 if dtype == "float16" else 1e-6
    np.testing.assert_allclose(found.embeddings, expected.embeddings, atol=tolerance)


def test_inputs_are_left_alone():
    initial = packing_oracles.random_rows(6, 4)
    before = initial.copy()
    pack_embeddings(initial, initial, PackingConfig(num_iterations=3))
    np.testing.assert_array_equal(initial, before)


def test_progress_is_reported_to_the_end():
    seen = []
    initial = packing_oracles.random_rows(6, 4)
    pack_embeddings(
        initial,
        initial,
        PackingConfig(num_iterations=5),
        on_progress=lambda iteration, terms: seen.append((iteration, terms.objective)),
    )
    assert 1 <= seen[0][0] <= 5
    assert seen[-1][0] == 5
    assert all(math.isfinite(value) for _, value in seen)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "magic"}, "method is 'magic'"),
        ({"reduction": "max"}, "reduction is 'max'"),
        ({"num_iterations": 0}, "num_iterations is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"regularization_weight": -1.0}, "regularization_weight is -1"),
        ({"block_size": 0}, "block_size is 0"),
        ({"decay_rate": 1.5}, "decay_rate is 1.5"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(PackingConfig(), **change)


def test_malformed_arrays_are_refused():
    good = packing_oracles.random_rows(6, 4)
    holed = good.copy()
    holed[2, 1] = np.nan
    for initial, gallery, message in (
        (good[:1], good, "initial: 1 row"),
        (
            good,
            packing_oracles.random_rows(6, 3),
            "initial and gallery have 4 and 3 columns",
        ),
        (2 * good, good, "initial: row 0 is not of unit length"),
        (holed, good, "initial: row 2 is not finite"),
        (good, np.zeros((3, 4)), "gallery: row 0 is zero"),
        (good.astype(int), good, "initial: embeddings are int64"),
        (good[0], good, "initial: embeddings have shape"),
        (good, None, "gallery is None"),
    ):
        with pytest.raises(InputError, match=message):
            pack_embeddings(initial, gallery)


class Still(Solver[algorithm1.State]):
    """A method of packing that moves nothing."""

    def init(self, x, problem, config):
        known = start_near_gallery(x, problem, block_size=None)
        return algorithm1.State(x, (), known)

    def step(self, state, problem, countdown, config):
        cosine, _ = nearest_reference(state.embeddings, problem.fixed, block_size=None)
        top, mean = jnp.max(cosine), jnp.mean(cosine)
        return state, Terms(top - 1, top, mean, jnp.float32(0))


def test_another_method_is_one_class(tmp_path, monkeypatch, call):
    """Through the command; by default it converges in the second half of a run."""
    monkeypatch.setitem(packing.SOLVERS, "annealed", Still())
    rows = packing_oracles.random_rows(12, 5)
    gallery, output = tmp_path / "gallery.npz", tmp_path / "references.npz"
    save_embeddings(gallery, rows, kind="gallery")
    code, printed, _ = call(
        pack, gallery=gallery, initial=gallery, output=output, num_iterations=200
    )
    assert code == 0
    assert "converged: the last 25 of 100 iterations" in printed
    np.testing.assert_allclose(load_embeddings(output).embeddings, rows, atol=1e-6)
