"""Capacity: known answers on small spheres, and what the figures mean."""

import math

import numpy as np
import pytest

from hyperface_jax import InputError, PackingConfig
from hyperface_jax.analysis.capacity import RESOLUTION, measure_capacity, region_bound
from tests.hyperface_jax import packing_oracles

FREE = PackingConfig(regularization_weight=0)


@pytest.mark.parametrize(
    ("n", "d", "limit"),
    [
        (6, 3, 0.0),  # octahedron
        (12, 3, math.cos(math.radians(63.43))),  # icosahedron
        (5, 4, -1 / 4),  # simplex
    ],
)
def test_proven_optima_are_found_and_bounded(n, d, limit):
    found = measure_capacity(packing_oracles.random_rows(50, d), limit, FREE)
    assert found.identities == found.bound == n
    assert found.bound_source == "sphere"
    x = found.embeddings.astype(float)
    assert (x @ x.T - 3 * np.eye(n)).max() <= limit + RESOLUTION
    # The bound itself ends the search: one more need not be tried.
    assert max(found.trials) == n
    assert found.gallery_identities < n


def test_what_is_found_keeps_the_limit_and_the_region():
    gallery = packing_oracles.clustered_rows(60, 12)
    labels = np.arange(60) // 2
    config = PackingConfig(num_iterations=60, regularization_weight=1.0)
    seen = []
    found = measure_capacity(
        gallery,
        0.6,
        config,
        labels=labels,
        min_gallery_cosine=0.75,
        max_identities=20,
        on_trial=lambda n, most: seen.append((n, most)),
    )
    x, g = found.embeddings.astype(float), gallery.astype(float)
    assert len(x) == found.identities >= found.gallery_identities >= 2
    assert (x @ x.T - 3 * np.eye(len(x))).max() <= 0.6 + 2 * RESOLUTION
    nearest = (x @ g.T).max(axis=1)
    assert nearest.min() >= 0.75 - 1e-6
    np.testing.assert_allclose(found.gallery_cosine, nearest, atol=1e-6)
    assert found.identities <= found.bound
    assert [n for n, _ in seen] == list(found.trials)
    assert seen[-1][1] == found.identities
    assert max(found.trials) <= 20, "the most asked for"


def test_opposite_references_confused_leave_one():
    found = measure_capacity(packing_oracles.random_rows(5, 4), None)
    assert (found.identities, found.bound, found.embeddings.shape) == (1, 1, (1, 4))


def test_a_region_around_few_people_holds_no_more_than_them():
    """Five people, each seen thrice; a reference must stay near one of them."""
    people = np.eye(5, 8)
    gallery = np.repeat(people, 3, axis=0) + 0.02 * packing_oracles.random_rows(15, 8)
    gallery = (gallery / np.linalg.norm(gallery, axis=1, keepdims=True)).astype("f4")
    assert region_bound(gallery, 0.5, 0.95) == (5.0, "cover")
    assert region_bound(gallery, 0.5, None)[1] == "sphere"


def test_a_region_on_one_side_of_the_sphere_is_bounded_by_its_height():
    # Within 30 degrees of a direction; at most two such are 50 degrees apart or more.
    angles = np.radians(np.linspace(-30, 30, 200))
    arc = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    bound, source = region_bound(arc.astype(np.float32), math.cos(0.9), 1.0)
    assert source == "cap"
    height = math.cos(math.radians(30))
    s = math.cos(0.9)
    assert bound == math.floor((1 - s) / (height**2 - s))


def test_refusals():
    gallery = packing_oracles.random_rows(5, 4)
    for arguments, settings, message in (
        ((gallery, 1.0), {}, "max_reference_cosine is 1.* at most 0.9998$"),
        ((gallery, 0.99995), {}, "max_reference_cosine is 0.99995"),
        ((gallery, math.nan), {}, "max_reference_cosine is nan"),
        ((gallery, 0.5), {"max_identities": 1}, "max_identities is 1"),
        ((gallery, 0.5), {"max_identities": 8.0}, "max_identities is 8.0"),
        ((gallery, 0.5), {"labels": [0, 1]}, "labels have shape"),
        ((gallery, 0.5), {"min_gallery_cosine": 1.5}, "min_gallery_cosine is 1.5"),
        ((gallery[:, :1], 0.5), {}, "gallery: row"),
        ((gallery[:1], 0.5), {}, "gallery: 1 row"),
    ):
        with pytest.raises(InputError, match=message):
            measure_capacity(*arguments, **settings)
