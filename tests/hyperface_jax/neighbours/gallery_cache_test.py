"""Skipping searches never changes which gallery row is nearest."""

import jax.numpy as jnp
import numpy as np
import pytest

from hyperface_jax.neighbours import gallery_cache
from tests.hyperface_jax import packing_oracles


@pytest.mark.parametrize("step", [1e-3, 0.05, 1.0])
def test_refreshed_rows_equal_brute_force(step):
    x = packing_oracles.random_rows(45, 8)
    gallery = packing_oracles.random_rows(70, 8, seed=1)
    known = gallery_cache.start(jnp.asarray(x), jnp.asarray(gallery), block_size=16)
    for seed in range(10):
        x = x + step * packing_oracles.random_rows(45, 8, seed=seed + 2)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        known = gallery_cache.refresh(
            known, jnp.asarray(x), jnp.asarray(gallery), block_size=16
        )
        np.testing.assert_array_equal(known.row, (x @ gallery.T).argmax(axis=1))


def test_points_that_hardly_move_are_not_searched_again():
    x = packing_oracles.random_rows(45, 8)
    gallery = packing_oracles.random_rows(70, 8, seed=1)
    known = gallery_cache.start(jnp.asarray(x), jnp.asarray(gallery), block_size=16)
    moved = x + 1e-6 * packing_oracles.random_rows(45, 8, seed=2)
    # A few, here and there, move by far more than their margins.
    far = np.array([0, 7, 17, 44])
    moved[far] = packing_oracles.random_rows(4, 8, seed=5)
    refreshed = gallery_cache.refresh(
        known, jnp.asarray(moved), jnp.asarray(gallery), block_size=16
    )
    # The anchor is where a point was last searched.
    expected = x.copy()
    expected[far] = moved[far]
    np.testing.assert_array_equal(refreshed.anchor, expected)
    np.testing.assert_array_equal(refreshed.row, (moved @ gallery.T).argmax(axis=1))
