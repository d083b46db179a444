"""The bounds hold, and are attained where they are proven tight."""

import math

import numpy as np
import packing_oracles
import pytest

from hyperface_jax import InputError, max_cosine_bound
from hyperface_jax.bounds import levenshtein_bound


@pytest.mark.parametrize(("n", "d"), [(2, 1), (3, 2), (4, 3), (5, 9), (513, 512)])
def test_simplex(n, d):
    assert max_cosine_bound(n, d) == pytest.approx(-1 / (n - 1))


@pytest.mark.parametrize(("n", "d"), [(5, 3), (6, 3), (1000, 512), (1024, 512)])
def test_cross_polytope(n, d):
    assert max_cosine_bound(n, d) == 0


@pytest.mark.parametrize(
    ("n", "d", "cosine"),
    # Sharp configurations of Cohn & Kumar (2007), Table 1, with three inner products.
    [(16, 5, 1 / 5), (27, 6, 1 / 4), (162, 21, 1 / 7), (100, 22, 1 / 11)],
)
def test_levenshtein_is_attained_by_sharp_codes(n, d, cosine):
    assert max_cosine_bound(n, d) == pytest.approx(cosine)


def test_levenshtein_continues_the_cross_polytope():
    assert levenshtein_bound(1025, 512) == pytest.approx(0, abs=1e-4)
    assert max_cosine_bound(10_000, 512) == pytest.approx(0.0238, abs=5e-5)


def test_circle():
    assert max_cosine_bound(7, 2) == pytest.approx(math.cos(2 * math.pi / 7))


@pytest.mark.parametrize("d", [1, 2, 3, 5, 20])
def test_no_arrangement_is_better_and_the_bound_grows(d):
    bounds = [max_cosine_bound(n, d) for n in range(2, 200)]
    assert bounds == sorted(bounds)
    for n in (2, d + 1, 2 * d, 2 * d + 1, 100):
        rows = packing_oracles.random_rows(max(n, 2), d, seed=n).astype(float)
        cosine = rows @ rows.T - 3 * np.eye(len(rows))
        assert cosine.max() >= max_cosine_bound(len(rows), d) - 1e-6


def test_one_point_has_no_bound():
    with pytest.raises(InputError, match="n is 1"):
        max_cosine_bound(1, 3)
