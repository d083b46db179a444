"""Blockwise nearest neighbours against brute force, ties and tails included."""

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import packing_oracles
import pytest

from hyperface_jax import similarity


def integer_rows(n: int, d: int, seed: int) -> np.ndarray:
    """Rows of small integers: their products are exact, and many of them tie."""
    return np.random.default_rng(seed).integers(-1, 2, (n, d)).astype(np.float32)


@hypothesis.settings(deadline=None, max_examples=25, derandomize=True)
@hypothesis.given(
    st.integers(2, 40), st.integers(1, 5), st.integers(1, 50), st.integers(0, 9)
)
def test_nearest_other_equals_brute_force(n, d, block_size, seed):
    rows = integer_rows(n, d, seed)
    cosine, row = similarity.nearest_other(jnp.asarray(rows), block_size=block_size)
    expected = rows @ rows.T
    np.fill_diagonal(expected, -100)
    if expected.max(axis=1).min() > similarity.MASKED:
        np.testing.assert_array_equal(row, expected.argmax(axis=1))
        np.testing.assert_array_equal(cosine, expected.max(axis=1))


@hypothesis.settings(deadline=None, max_examples=25, derandomize=True)
@hypothesis.given(
    st.integers(1, 30), st.integers(2, 40), st.integers(1, 50), st.integers(0, 9)
)
def test_nearest_equals_brute_force(q, m, block_size, seed):
    queries, rows = integer_rows(q, 3, seed), integer_rows(m, 3, seed + 100)
    found = similarity.nearest(
        jnp.asarray(queries), jnp.asarray(rows), block_size=block_size
    )
    expected = queries @ rows.T
    np.testing.assert_array_equal(found.row, expected.argmax(axis=1))
    np.testing.assert_array_equal(found.cosine, expected.max(axis=1))
    np.testing.assert_array_equal(found.runner_up, np.sort(expected, axis=1)[:, -2])


def test_nearest_without_a_runner_up():
    rows = packing_oracles.random_rows(1, 4)
    found = similarity.nearest(jnp.asarray(rows), jnp.asarray(rows))
    assert float(found.runner_up[0]) == similarity.MASKED


@pytest.mark.parametrize("block_size", [None, 1, 7, 50, 64])
def test_block_size_does_not_change_the_neighbours(block_size):
    rows = jnp.asarray(packing_oracles.random_rows(50, 16))
    expected = similarity.nearest_other(rows, block_size=50)
    found = similarity.nearest_other(rows, block_size=block_size)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
