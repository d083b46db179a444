"""Growing a set, and keeping away from real people."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from hyperface_jax import InputError, PackingConfig, pack_embeddings
from hyperface_jax.packing import enrolled_limit
from hyperface_jax.packing.problem import Problem
from tests.hyperface_jax import packing_oracles

GALLERY = packing_oracles.clustered_rows(60, 12)
METHODS = ["annealed", "algorithm1", "algorithm2"]


def config_of(method: str, **changed) -> PackingConfig:
    return PackingConfig(
        method=method, num_iterations=60, block_size=16, batch_size=9, **changed
    )


def test_one_more_point_completes_a_simplex():
    centred = np.eye(5) - 1 / 5
    basis = np.linalg.svd(centred)[2][:4]
    simplex = centred @ basis.T
    simplex /= np.linalg.norm(simplex, axis=1, keepdims=True)
    start = packing_oracles.random_rows(1, 4)
    result = pack_embeddings(
        start, None, PackingConfig(regularization_weight=0), fixed=simplex[:4]
    )
    np.testing.assert_allclose(result.embeddings, simplex[4:], atol=1e-3)
    assert result.max_cosine == pytest.approx(-1 / 4, abs=1e-4)
    # Proven is less: beside one fixed point alone, it could be opposite.
    assert result.bound == pytest.approx(-1)


@pytest.mark.parametrize("method", METHODS)
def test_new_references_keep_away_from_fixed_ones(method):
    fixed = pack_embeddings(GALLERY[:20], GALLERY, config_of("annealed")).embeddings
    config = config_of(method, regularization_weight=0.1)
    grown = pack_embeddings(GALLERY[20:30], GALLERY, config, fixed=fixed)
    everything = np.concatenate([grown.embeddings, fixed]).astype(float)
    cosine = grown.embeddings.astype(float) @ everything.T - 3 * np.eye(10, 30)
    assert grown.max_cosine == pytest.approx(cosine.max(), abs=1e-6)
    before = GALLERY[20:30].astype(float) @ fixed.T
    assert (grown.embeddings @ fixed.T).max() < before.max()


@pytest.mark.parametrize("method", METHODS)
def test_no_reference_resembles_an_enrolled_person(method):
    enrolled = GALLERY[:8]
    config = config_of(method, max_enrolled_cosine=0.6)
    # Some references start at the very people they must not resemble.
    result = pack_embeddings(GALLERY[4:16], GALLERY, config, enrolled=enrolled)
    cosine = result.embeddings.astype(float) @ enrolled.T
    assert cosine.max() <= 0.6
    assert result.enrolled_cosine == pytest.approx(cosine.max(), abs=1e-6)


def test_the_limit_is_reached_but_not_passed():
    """One reference pulled to the one person it must not resemble."""
    start = packing_oracles.random_rows(2, 3)
    config = PackingConfig(max_enrolled_cosine=0.25, regularization_weight=5.0)
    pole = np.array([[0, 0, 1.0]])
    result = pack_embeddings(start, pole, config, enrolled=pole)
    np.testing.assert_allclose(result.embeddings[:, 2], 0.25, atol=1e-4)


@pytest.mark.parametrize("d", [2, 6])
def test_an_impossible_limit_is_missed_by_as_little_as_can_be(d):
    # No direction is further from these than a diagonal of the cube, at 1 / sqrt(d).
    everyone = np.concatenate([np.eye(d), -np.eye(d)])
    config = PackingConfig(
        max_enrolled_cosine=0.1, regularization_weight=0, num_iterations=5
    )
    result = pack_embeddings(
        packing_oracles.random_rows(3, d), None, config, enrolled=everyone
    )
    assert result.enrolled_cosine == pytest.approx(d**-0.5, abs=0.01)
    assert result.enrolled_cosine >= d**-0.5 - 1e-6


def test_one_sweep_turns_to_the_limit():
    x = packing_oracles.random_rows(30, 3)
    enrolled = packing_oracles.random_rows(1, 3, seed=1)
    nothing = jnp.zeros((0, 3))
    around = Problem(nothing, nothing, jnp.asarray(enrolled))
    config = PackingConfig(max_enrolled_cosine=0.2)
    turned = np.asarray(enrolled_limit.keep_away(jnp.asarray(x), around, config))
    before, after = (x @ enrolled.T)[:, 0], (turned @ enrolled.T)[:, 0]
    np.testing.assert_array_equal(turned[before <= 0.2], x[before <= 0.2])
    np.testing.assert_allclose(after[before > 0.2], 0.2, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), 1, atol=1e-5)


def test_refusals():
    other = packing_oracles.random_rows(5, 7)
    with pytest.raises(InputError, match="initial and fixed have 12 and 7 columns"):
        pack_embeddings(GALLERY, GALLERY, fixed=other)
    with pytest.raises(InputError, match="initial and enrolled have"):
        pack_embeddings(GALLERY, GALLERY, enrolled=other)
    for limit in (-1.0, 1.5, math.nan):
        with pytest.raises(InputError, match="max_enrolled_cosine is"):
            dataclasses.replace(PackingConfig(), max_enrolled_cosine=limit)
