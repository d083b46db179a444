"""Skipping searches never changes which gallery row is nearest."""

import jax.numpy as jnp
import numpy as np
import packing_oracles
import pytest

from hyperface_jax import tracking


@pytest.mark.parametrize("step", [1e-3, 0.05, 1.0])
def test_refreshed_rows_equal_brute_force(step):
    x = packing_oracles.random_rows(45, 8)
    gallery = packing_oracles.random_rows(70, 8, seed=1)
    known = tracking.start(jnp.asarray(x), jnp.asarray(gallery), block_size=16)
    for seed in range(10):
        x = x + step * packing_oracles.random_rows(45, 8, seed=seed + 2)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        known = tracking.refresh(
            known, jnp.asarray(x), jnp.asarray(gallery), block_size=16
        )
        np.testing.assert_array_equal(known.row, (x @ gallery.T).argmax(axis=1))


def test_blocks_that_hardly_move_are_not_searched_again():
    x = packing_oracles.random_rows(32, 8)
    known = tracking.start(jnp.asarray(x), jnp.asarray(x), block_size=16)
    moved = x.copy()
    # The first block moves by far more than its margins, the second stays.
    moved[:16] = packing_oracles.random_rows(16, 8, seed=5)
    refreshed = tracking.refresh(
        known, jnp.asarray(moved), jnp.asarray(x), block_size=16
    )
    # The anchor is where a point was last searched: moved ones have a new one.
    np.testing.assert_array_equal(refreshed.anchor[:16], moved[:16])
    near = moved.copy()
    near[16:] += 1e-3
    again = tracking.refresh(
        refreshed, jnp.asarray(near), jnp.asarray(x), block_size=16
    )
    np.testing.assert_array_equal(again.anchor[16:], x[16:])
