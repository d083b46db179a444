"""Blockwise nearest neighbours against brute force, ties and tails included."""

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

from hyperface_jax.neighbours import repulsion, similarity, tiles
from hyperface_jax.packing import problem
from tests.hyperface_jax import packing_oracles


def integer_rows(n: int, d: int, seed: int) -> np.ndarray:
    """Rows of small integers: their products are exact, and many of them tie."""
    return np.random.default_rng(seed).integers(-1, 2, (n, d)).astype(np.float32)


# Each shape is compiled once, so few shapes, many contents.
SHAPES = st.sampled_from([(2, 1), (17, 4), (17, 16), (17, 17), (33, 16)])
CONTENTS = st.tuples(st.sampled_from([1, 2, 3]), st.integers(0, 1000))


def padded(rows: np.ndarray) -> np.ndarray:
    """The same rows in 6 dimensions, so that all contents share compiled code."""
    return np.pad(rows, [(0, 0), (0, 6 - rows.shape[1])])


@hypothesis.settings(deadline=None, max_examples=60, derandomize=True)
@hypothesis.given(SHAPES, CONTENTS)
def test_nearest_other_equals_brute_force(shape, content):
    n, block_size = shape
    rows = padded(integer_rows(n, *content))
    cosine, row = similarity.nearest_other(jnp.asarray(rows), block_size=block_size)
    expected = rows @ rows.T
    np.fill_diagonal(expected, tiles.MASKED)
    np.testing.assert_array_equal(row, expected.argmax(axis=1))
    np.testing.assert_array_equal(cosine, expected.max(axis=1))
    alone = similarity.nearest_cosine(jnp.asarray(rows), block_size=block_size)
    np.testing.assert_array_equal(alone, expected.max(axis=1))


@hypothesis.settings(deadline=None, max_examples=60, derandomize=True)
@hypothesis.given(SHAPES, CONTENTS)
def test_nearest_equals_brute_force(shape, content):
    m, block_size = shape
    d, seed = content
    queries, rows = (
        padded(integer_rows(9, d, seed)),
        padded(integer_rows(m, d, seed + 1)),
    )
    found = similarity.nearest(
        jnp.asarray(queries), jnp.asarray(rows), block_size=block_size
    )
    expected = queries @ rows.T
    np.testing.assert_array_equal(found.row, expected.argmax(axis=1))
    np.testing.assert_array_equal(found.cosine, expected.max(axis=1))
    np.testing.assert_array_equal(found.runner_up, np.sort(expected, axis=1)[:, -2])


@pytest.mark.parametrize("block_size", [3, 5, 8])
def test_padding_is_nobodys_neighbour(block_size):
    """In a simplex all cosines are negative, below the 0 of a padding row."""
    centred = np.eye(8) - 1 / 8
    rows = (centred / np.linalg.norm(centred, axis=1, keepdims=True)).astype("f4")
    cosine, row = similarity.nearest_other(jnp.asarray(rows), block_size=block_size)
    np.testing.assert_allclose(cosine, -1 / 7, atol=1e-6)
    assert (np.asarray(row) < 8).all()
    found = similarity.nearest(jnp.asarray(rows[:3]), jnp.asarray(-rows), block_size=5)
    np.testing.assert_allclose(found.runner_up, 1 / 7, atol=1e-6)


def test_nearest_without_a_runner_up():
    rows = packing_oracles.random_rows(1, 4)
    found = similarity.nearest(jnp.asarray(rows), jnp.asarray(rows))
    assert float(found.runner_up[0]) == tiles.MASKED


@pytest.mark.parametrize("block_size", [None, 1, 7, 50, 64])
def test_block_size_does_not_change_the_neighbours(block_size):
    rows = jnp.asarray(packing_oracles.random_rows(50, 16))
    expected = similarity.nearest_other(rows, block_size=50)
    found = similarity.nearest_other(rows, block_size=block_size)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6)


def test_rows_of_other_shapes_are_refused_while_tracing():
    """Broadcasting would make something of them that no search means."""
    x, nobody = jnp.ones((6, 4)), jnp.zeros((0, 4))
    for wrong in (
        lambda: similarity.nearest(x, x[:, :3]),
        lambda: similarity.nearest(x, x, exclude=jnp.arange(5)),
        lambda: similarity.nearest_other(x[0]),
        lambda: repulsion.repulsion(x, jnp.zeros((6, 1)), 0.1),
        lambda: repulsion.repulsion(x, jnp.zeros(6), 0.1, fixed=x[:, :3]),
        lambda: problem.references_at(x, nobody[:, :3], jnp.arange(2)),
    ):
        with pytest.raises(AssertionError):
            wrong()
