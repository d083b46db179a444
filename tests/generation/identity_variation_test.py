"""Algorithm 3 against closed forms, and its independence of order and number."""

import math

import numpy as np
import pytest

from bridges.generation.identity_variation import image_seed, vary_identity
from tests.generation import tiny_models


def expected_angle(beta: float, dimensions: int) -> float:
    """The angle in radians: across x the noise has length β√(d-1), along it none."""
    return math.atan(beta * math.sqrt(dimensions - 1))


def variations(reference: np.ndarray, beta: float, count: int) -> np.ndarray:
    return np.stack(
        [
            vary_identity(reference, beta=beta, dataset_seed=0, identity=3, index=index)
            for index in range(count)
        ]
    )


@pytest.mark.parametrize("beta", [0.0, 0.01, 0.05])
def test_variations_are_unit_and_turned_by_the_expected_angle(beta):
    reference = tiny_models.unit_rows(1, 512)[0]
    rows = variations(reference, beta, 400)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    angles = np.arccos(np.clip(rows @ reference, -1, 1))
    # The angle of one variation spreads by about β/√2 around its mean.
    assert np.mean(angles) == pytest.approx(expected_angle(beta, 512), abs=6e-3)


def test_the_paper_s_beta_turns_by_12_7_degrees():
    assert math.degrees(expected_angle(0.01, 512)) == pytest.approx(12.7, abs=0.05)


def test_variations_are_isotropic_around_the_reference():
    reference = tiny_models.unit_rows(1, 512)[0]
    rows = variations(reference, 0.01, 400)
    mean = rows.mean(0) / np.linalg.norm(rows.mean(0))
    assert mean @ reference > 1 - 2e-4
    # Two independent noises: the cosine between variations is that to x, squared.
    cosines = rows @ rows.T
    between = cosines[~np.eye(len(rows), dtype=bool)].mean()
    assert between == pytest.approx(math.cos(expected_angle(0.01, 512)) ** 2, abs=1e-3)


def test_formula_of_algorithm_3():
    reference = tiny_models.unit_rows(1, 512)[0]
    # The published way to the noise: the second child of the image's seed sequence.
    child = np.random.SeedSequence(1, spawn_key=(2, 3)).spawn(2)[1]
    noise = np.random.Generator(np.random.PCG64(child)).standard_normal(512)
    expected = reference + 0.02 * noise
    expected /= np.linalg.norm(expected)
    found = vary_identity(reference, beta=0.02, dataset_seed=1, identity=2, index=3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_each_image_has_its_own_seed_and_direction():
    keys = [(s, i, k) for s in range(3) for i in range(20) for k in range(20)]
    seeds = {image_seed(*key) for key in keys}
    assert len(seeds) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)
    reference = tiny_models.unit_rows(1, 512)[0]
    first = {
        vary_identity(
            reference, beta=0.01, dataset_seed=s, identity=i, index=k
        ).tobytes()
        for s, i, k in keys
    }
    assert len(first) == len(keys)


def test_seeds_stay_what_they_are():
    """Datasets made earlier must be made again: these values never change."""
    assert image_seed(0, 0, 0) == 2094613214458313471
    assert image_seed(7, 12, 345) == 248041828704905503
