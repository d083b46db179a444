"""Separation statistics against brute force and closed forms."""

import math

import numpy as np
import pytest

from hyperface_jax import InputError
from hyperface_jax.analysis.separation import separation_statistics
from tests.hyperface_jax import packing_oracles


def test_equals_brute_force():
    rows = packing_oracles.clustered_rows(40, 6)
    labels = np.random.default_rng(0).integers(0, 9, 40) * 7
    found = separation_statistics(rows, labels, block_size=4)
    centres, intra = [], []
    for label in np.unique(labels):
        own = rows[labels == label].astype(float)
        centre = own.mean(axis=0) / np.linalg.norm(own.mean(axis=0))
        centres.append(centre)
        intra.append(np.degrees(np.arccos(np.clip(own @ centre, -1, 1))).mean())
    cosine = np.array(centres) @ np.array(centres).T
    pairs = cosine[~np.eye(9, dtype=bool)]
    assert (found.num_identities, found.num_embeddings, found.dimension) == (9, 40, 6)
    assert found.mean_norm == pytest.approx(1, abs=1e-6)
    assert found.mean_inter_distance == pytest.approx((1 - pairs).mean(), abs=1e-6)
    assert found.max_inter_cosine == pytest.approx(pairs.max(), abs=1e-6)
    assert math.cos(math.radians(found.min_inter_angle)) == pytest.approx(pairs.max())
    np.testing.assert_allclose(found.intra_angle, intra, atol=1e-4)
    assert found.mean_intra_angle == pytest.approx(np.mean(intra))
    nearest = (cosine - 3 * np.eye(9)).max(axis=1)
    assert found.nearest_cosine_quantiles[[0, 3, 6]] == pytest.approx(
        [nearest.min(), np.median(nearest), nearest.max()], abs=1e-6
    )
    assert found.gap == found.max_inter_cosine - found.bound


def test_two_embeddings_of_an_identity_in_closed_form():
    """At angle 2θ, each is θ from the centre, and cos θ from the plain mean."""
    theta = math.radians(20)
    rows = np.array(
        [
            [math.cos(theta), math.sin(theta), 0],
            [math.cos(theta), -math.sin(theta), 0],
            [0, 0, 1.0],
        ]
    )
    labels = [4, 4, 5]
    assert separation_statistics(rows, labels).intra_angle == pytest.approx(
        [20, 0], abs=1e-3
    )
    literal = separation_statistics(rows, labels, unit_centres=False).intra_angle[0]
    assert literal == pytest.approx(math.degrees(math.acos(math.cos(theta) ** 2)))


def test_without_labels_each_row_is_an_identity():
    found = separation_statistics(np.eye(4))
    assert found.mean_inter_distance == pytest.approx(1)
    assert found.min_inter_angle == pytest.approx(90)
    assert found.mean_intra_angle == 0


def test_refusals():
    rows = packing_oracles.random_rows(4, 3)
    for labels, message in (
        ([0, 0, 0, 0], "one identity"),
        ([0, 1], "labels have shape"),
    ):
        with pytest.raises(InputError, match=message):
            separation_statistics(rows, labels)
    with pytest.raises(InputError, match="rows differ in length"):
        separation_statistics([[1.0, 0.0], [1.0]])
    with pytest.raises(InputError, match="identity 3 cancel"):
        separation_statistics(np.concatenate([rows, -rows[:1]]), [3, 1, 1, 2, 3])
