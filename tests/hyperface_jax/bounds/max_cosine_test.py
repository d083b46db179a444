"""The bounds hold, and are attained where they are proven tight."""

import math

import numpy as np
import pytest

from hyperface_jax import InputError, max_cosine_bound
from hyperface_jax.bounds.max_cosine import capacity_bound, levenshtein_bound
from tests.hyperface_jax import packing_oracles

# Sharp configurations of Cohn & Kumar (2007), Table 1: optimal, with these cosines.
# (Not the 600-cell, whose optimality takes another argument.)
SHARP = [
    (12, 3, 1 / math.sqrt(5)),
    (16, 5, 1 / 5),
    (27, 6, 1 / 4),
    (56, 7, 1 / 3),
    (240, 8, 1 / 2),
    (162, 21, 1 / 7),
    (100, 22, 1 / 11),
    (275, 22, 1 / 6),
    (891, 22, 1 / 4),
    (552, 23, 1 / 5),
    (4600, 23, 1 / 3),
    (196_560, 24, 1 / 2),
]


@pytest.mark.parametrize(("n", "d"), [(2, 1), (3, 2), (4, 3), (5, 9), (513, 512)])
def test_simplex(n, d):
    assert max_cosine_bound(n, d) == pytest.approx(-1 / (n - 1))


@pytest.mark.parametrize(("n", "d"), [(5, 3), (6, 3), (1000, 512), (1024, 512)])
def test_cross_polytope(n, d):
    assert max_cosine_bound(n, d) == 0


@pytest.mark.parametrize(("n", "d", "cosine"), SHARP)
def test_levenshtein_is_attained_by_sharp_codes(n, d, cosine):
    assert max_cosine_bound(n, d) == pytest.approx(cosine, abs=1e-9)
    assert capacity_bound(cosine, d) == n


def test_levenshtein_three_in_closed_form():
    d = 512
    for n in (2000, 10_000, 100_000):
        s = levenshtein_bound(n, d)
        assert d * (1 - s) * (2 + (d + 1) * s) / (1 - d * s * s) == pytest.approx(n)
    assert max_cosine_bound(10_000, 512) == pytest.approx(0.0238, abs=5e-5)
    assert levenshtein_bound(1024, 512) == pytest.approx(0, abs=1e-6)


def test_circle():
    assert max_cosine_bound(7, 2) == pytest.approx(math.cos(2 * math.pi / 7))


@pytest.mark.parametrize("d", [1, 2, 3, 5, 20])
def test_no_arrangement_is_better_and_the_bound_grows(d):
    bounds = [max_cosine_bound(n, d) for n in range(2, 300)]
    assert (np.diff(bounds) >= -1e-12).all()
    for n in (2, d + 1, 2 * d, 2 * d + 1, 100):
        rows = packing_oracles.random_rows(max(n, 2), d, seed=n).astype(float)
        cosine = rows @ rows.T - 3 * np.eye(len(rows))
        assert cosine.max() >= max_cosine_bound(len(rows), d) - 1e-6


def test_many_points_in_three_dimensions():
    """Against the area argument: n caps of half the angle fit on the sphere."""
    n = 10_000
    angle = math.acos(max_cosine_bound(n, 3))
    assert 1 - math.cos(angle / 2) < 2 / n
    # The hexagonal limit, that no arrangement passes and the bound comes near.
    assert angle == pytest.approx(math.sqrt(8 * math.pi / (math.sqrt(3) * n)), rel=0.06)


@pytest.mark.parametrize(("cosine", "n"), [(-1, 2), (-0.5, 3), (-0.4, 3), (0, 10)])
def test_capacity_at_and_below_zero(cosine, n):
    assert capacity_bound(cosine, 5) == n


def test_capacity_is_the_inverse():
    for cosine in (0.05, 0.3, 0.6):
        n = capacity_bound(cosine, 32)
        assert max_cosine_bound(int(n), 32) <= cosine + 1e-9
        assert max_cosine_bound(int(n) + 1, 32) > cosine


def test_refusals():
    with pytest.raises(InputError, match="n is 1"):
        max_cosine_bound(1, 3)
    with pytest.raises(InputError, match=r"d is 8\.0, must be a whole number"):
        max_cosine_bound(100, 8.0)
    with pytest.raises(InputError, match=r"max_cosine is 1.* less than 1$"):
        capacity_bound(1.0, 3)
