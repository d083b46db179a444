"""Certificates equal the full matrix of cosines in double precision."""

import numpy as np
import pytest

from hyperface_jax.bounds.certificate import enrolled_certificate, largest_cosine
from tests.hyperface_jax import packing_oracles

X = packing_oracles.random_rows(50, 8)
OTHERS = packing_oracles.random_rows(70, 8, seed=1)


def exact_cosines(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    return a @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T


@pytest.mark.parametrize("limit", [-0.5, 0.5, 0.7, 0.999])
def test_pair_and_count_equal_brute_force(limit):
    found = largest_cosine(X, OTHERS, limit, block_size=16)
    dense = exact_cosines(X, OTHERS)
    assert found.cosine == pytest.approx(dense.max(), abs=1e-15)
    assert (found.row, found.other) == np.unravel_index(dense.argmax(), dense.shape)
    assert found.too_near == np.sum(dense.max(axis=1) > limit)


def test_what_float32_cannot_tell_apart_is_decided():
    """Many rows at the limit within rounding; some beyond it by 1e-8."""
    limit = 0.25
    pole = np.zeros((1, 64), np.float32)
    pole[0, 0] = 1
    rest = packing_oracles.random_rows(500, 63, seed=2).astype(np.float64)
    height = limit + np.linspace(-3e-8, 3e-8, 500)[:, None]
    x = np.concatenate([height, np.sqrt(1 - height**2) * rest], axis=1)
    x = x.astype(np.float32)
    dense = exact_cosines(x, pole)[:, 0]
    assert 0 < np.sum(dense > limit) < 500
    found = largest_cosine(x, pole, limit)
    assert found.cosine == pytest.approx(dense.max(), abs=1e-15)
    assert found.too_near == np.sum(dense > limit)


def test_rows_not_quite_of_length_1_hide_nobody():
    """A norm that files may have lifts a harmless pair above one beyond the limit."""
    limit, d = 0.3, 64
    enrolled = np.eye(2, d)
    x = np.zeros((3, d))
    x[:, 2:] = packing_oracles.random_rows(3, d - 2, seed=3)
    for row, (other, cosine) in enumerate([(0, 0.3001), (0, 0.3001), (1, 0.29999)]):
        x[row] *= np.sqrt(1 - cosine**2)
        x[row, other] = cosine
    enrolled[0] *= 0.9991
    x, enrolled = x.astype(np.float32), enrolled.astype(np.float32)
    dense = exact_cosines(x, enrolled)
    found = largest_cosine(x, enrolled, limit)
    assert found.cosine == pytest.approx(dense.max(), abs=1e-15)
    assert found.too_near == 2


def test_a_certificate_says_whose_fault_it_is():
    everyone = np.concatenate([X[:2], OTHERS])
    found = enrolled_certificate(X, everyone, 0.9, num_fixed=1)
    dense = exact_cosines(X, everyone).max(axis=1)
    assert not found["kept"]
    assert found["max_cosine"] == pytest.approx(1)
    assert found["too_near"] == np.sum(dense > 0.9)
    assert found["fixed_too_near"] == 1
    assert enrolled_certificate(X, OTHERS, 0.9999)["kept"]
