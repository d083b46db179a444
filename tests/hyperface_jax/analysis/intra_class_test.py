"""Spread: angles that were put in are found; limits against images drawn at random."""

import math

import numpy as np
import pytest

from hyperface_jax import InputError
from hyperface_jax.analysis.intra_class import (
    measure_spread,
    typical_cosine,
    worst_case_cosine,
)
from tests.hyperface_jax import packing_oracles


def images_of(references, degrees, count, seed=7):
    """Images at a given angle of each reference, in random directions."""
    x = np.repeat(references.astype(np.float64), count, axis=0)
    u = np.random.default_rng(seed).standard_normal(x.shape)
    u -= np.sum(u * x, axis=1, keepdims=True) * x
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    return math.cos(math.radians(degrees)) * x + math.sin(math.radians(degrees)) * u


@pytest.mark.parametrize("degrees", [5.0, 30.0, 55.0])
def test_the_angle_put_in_is_found(degrees):
    images = images_of(packing_oracles.random_rows(200, 256), degrees, 5)
    labels = np.repeat(np.arange(200), 5)
    found = measure_spread(images, labels)
    assert found.typical == pytest.approx(degrees, abs=0.3)
    # The mean of the four others is off, too, so this is on the safe side.
    assert found.worst >= degrees
    assert (found.num_identities, found.num_images) == (200, 1000)


def test_single_images_say_nothing():
    images = images_of(packing_oracles.random_rows(2, 64), 20, 4)
    labels = np.array([0, 0, 0, 0, 1, 2, 3, 4])
    found = measure_spread(images, labels)
    assert (found.num_identities, found.num_images) == (1, 4)
    with pytest.raises(InputError, match="no identity has two images"):
        measure_spread(images, np.arange(8))
    with pytest.raises(InputError, match="labels have shape"):
        measure_spread(images, labels[:3])


def test_worst_case_leaves_room_for_both_spreads():
    # 40 degrees apart in the images, 10 off on each side.
    cosine = worst_case_cosine(math.cos(math.radians(40)), 10)
    assert cosine == pytest.approx(math.cos(math.radians(60)))
    assert worst_case_cosine(0.2, 0) == pytest.approx(0.2)
    assert worst_case_cosine(0.0, 45) == pytest.approx(-1)
    assert worst_case_cosine(-0.5, 60) is None


@pytest.mark.parametrize(("threshold", "degrees"), [(0.3, 20), (0.25, 50), (0.0, 35)])
def test_images_at_the_typical_limit_are_confused_at_the_rate_asked_for(
    threshold, degrees
):
    d, rate = 128, 0.02
    c = typical_cosine(threshold, degrees, d, false_match_rate=rate)
    pair = np.zeros((2, d))
    pair[0, 0], pair[1, :2] = 1, (c, math.sqrt(1 - c * c))
    first = images_of(pair[:1], degrees, 20_000)
    second = images_of(pair[1:], degrees, 20_000, seed=8)
    confused = np.mean(np.sum(first * second, axis=1) > threshold)
    assert confused == pytest.approx(rate, abs=0.004)


def test_typical_limit_without_spread_is_the_threshold():
    assert typical_cosine(0.37, 0, 512) == pytest.approx(0.37, abs=1e-9)
    # Images all but orthogonal to their reference are confused only by chance.
    assert typical_cosine(0.5, 89, 512) == 1.0
    assert typical_cosine(-0.99, 40, 64) is None


def test_refusals():
    for arguments, message in (
        ((1.0, 0), "threshold is 1.0, must be more than -1 and less than 1$"),
        ((-1.0, 0), "threshold is -1"),
        ((math.nan, 0), "threshold is nan"),
        ((0.5, -1), "spread is -1"),
        ((0.5, 91), "spread is 91"),
    ):
        with pytest.raises(InputError, match=message):
            worst_case_cosine(*arguments)
        with pytest.raises(InputError, match=message):
            typical_cosine(*arguments, 64)
    with pytest.raises(InputError, match="false_match_rate is 0"):
        typical_cosine(0.5, 10, 64, false_match_rate=0)
