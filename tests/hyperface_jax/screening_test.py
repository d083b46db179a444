"""Screening in bfloat16 finds what brute force in double precision finds."""

import jax.numpy as jnp
import numpy as np
import packing_oracles
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperface_jax import screening, similarity

# Whole tiles: a product of another shape may round the cosines of equal rows apart.
Q, M, D = 20, 32, 6


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def check(queries, rows, exclude=None):
    """Compares with brute force; how many queries were in doubt."""
    arguments = (jnp.asarray(queries), jnp.asarray(rows))
    excluded = None if exclude is None else jnp.asarray(exclude)
    found = screening.nearest(*arguments, exclude=excluded, block_size=16)
    cosine, row, runner_up = map(np.asarray, found.neighbors)
    dense = queries.astype(np.float64) @ rows.astype(np.float64).T
    if exclude is not None:
        dense[np.arange(len(queries)), exclude] = -4
    best = dense.max(axis=1)
    chosen = np.take_along_axis(dense, row[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(chosen, best, atol=5e-7)
    np.testing.assert_allclose(cosine, best, atol=1e-6)
    for i, j in enumerate(row):
        equal = np.flatnonzero((rows == rows[j]).all(axis=1))
        if exclude is not None:
            equal = equal[equal != exclude[i]]
        assert j == equal[0], "of equal rows the lowest"
    dense[np.arange(len(queries)), row] = -4
    assert (runner_up >= dense.max(axis=1) - 1e-6).all()
    return int(found.in_doubt)


# Few directions: many equal rows and many equal cosines of different rows.
LATTICE = st.lists(
    st.lists(st.integers(-1, 1), min_size=D, max_size=D).filter(any),
    min_size=Q + M,
    max_size=Q + M,
)


@settings(max_examples=40, deadline=None)
@given(LATTICE)
def test_ties_and_duplicates(rows):
    rows = unit(rows)
    check(rows[:Q], rows[Q:])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-4, 1), st.integers(1, M))
def test_crowded_rows(seed, width, different):
    """Rows within a cone of any width, some of them repeated."""
    random = np.random.default_rng(seed)
    pole = random.standard_normal(D)
    cloud = unit(pole + width * random.standard_normal((Q + different, D)))
    rows = cloud[Q:][random.integers(different, size=M)]
    check(cloud[:Q], rows)
    check(rows[:Q], rows, exclude=np.arange(Q))


def test_a_clear_leader_needs_no_second_look():
    """References near their gallery row, as they are: none is in doubt."""
    gallery = packing_oracles.random_rows(300, 128)
    noise = packing_oracles.random_rows(200, 128, seed=1)
    assert check(unit(gallery[:200] + noise), gallery) == 0


def test_nearest_takes_the_keyword():
    x = packing_oracles.random_rows(Q, D)
    rows = packing_oracles.random_rows(M, D, seed=1)
    plain = similarity.nearest(x, rows, block_size=16)
    found = similarity.nearest(x, rows, block_size=16, screening=True)
    np.testing.assert_array_equal(found.row, plain.row)
    np.testing.assert_allclose(found.cosine, plain.cosine, atol=1e-6)


def test_the_bound_holds_for_the_worst_rounding():
    """Rows whose every entry lies half-way between two bfloat16 numbers."""
    d = 64
    entry = np.float32(1 + 2.0**-8) * np.ones((1, d), np.float32)
    x = unit(entry * np.where(np.arange(d) % 3, 1, 1.004))
    coarse, error = screening._rounded(jnp.asarray(x))
    exact = float(x[0].astype(np.float64) @ x[0].astype(np.float64))
    screened = float(similarity.cosines(coarse, coarse)[0, 0])
    assert abs(screened - exact) <= float(screening._error(error, error[0], d)[0])
