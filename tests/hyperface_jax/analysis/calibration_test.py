"""The calibrated threshold against sorting all pairs."""

import itertools
import tracemalloc

import numpy as np
import pytest

from hyperface_jax import InputError, calibrate_threshold
from hyperface_jax.analysis import calibration


def people(num_people, images, d=16, noise=0.4, seed=0):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(num_people, d))
    labels = random.permutation(np.repeat(np.arange(num_people), images))
    rows = centres[labels] + noise * random.normal(size=(len(labels), d))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), labels


def all_pairs(rows, labels):
    """Cosines in double precision of impostor and of genuine pairs, one by one."""
    exact = rows.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    found = {True: [], False: []}
    for i, j in itertools.combinations(range(len(rows)), 2):
        found[bool(labels[i] == labels[j])].append(exact[i] @ exact[j])
    return np.sort(found[False])[::-1], np.array(found[True])


@pytest.mark.parametrize("tile", [7, 1024])
@pytest.mark.parametrize("rate", [1e-3, 0.01, 0.5, 0.999])
def test_threshold_is_the_quantile_of_all_impostor_pairs(monkeypatch, tile, rate):
    monkeypatch.setattr(calibration, "_TILE", tile)
    rows, labels = people(40, 3)
    impostors, genuine = all_pairs(rows, labels)
    found = calibrate_threshold(rows, labels, rate)
    allowed = int(rate * len(impostors))
    assert found.threshold == pytest.approx(impostors[allowed], abs=1e-6)
    assert found.false_match_rate == pytest.approx(allowed / len(impostors), abs=1e-4)
    assert found.false_match_rate <= rate
    assert found.true_match_rate == np.mean(genuine > found.threshold)
    counts = (found.num_impostor_pairs, found.num_genuine_pairs, found.num_people)
    assert counts == (len(impostors), len(genuine), 40)


def test_equal_cosines_never_exceed_the_rate():
    rows = np.repeat(np.eye(4, dtype=np.float32), 5, axis=0)
    found = calibrate_threshold(rows, np.arange(20), 0.1)
    # 40 of 190 pairs are equal and so at 1: none may be accepted.
    assert (found.threshold, found.false_match_rate) == (1.0, 0.0)
    found = calibrate_threshold(rows, np.arange(20), 0.3)
    assert (found.threshold, found.false_match_rate) == (0.0, 40 / 190)
    assert found.true_match_rate is None


def test_opposite_rows_have_negative_thresholds():
    rows = np.array([[1, 0], [-1, 0], [-0.8, 0.6], [-0.6, 0.8]], np.float32)
    found = calibrate_threshold(rows, list("abcd"), 0.5)
    cosines = sorted([-1, -0.8, -0.6, 0.8, 0.6, 0.96], reverse=True)
    assert found.threshold == pytest.approx(cosines[3], abs=1e-6)


def test_bits_in_order_are_numbers_in_order():
    random = np.random.default_rng(0)
    numbers = random.uniform(-1, 1, 1000).astype(np.float32)
    numbers = np.concatenate([numbers, -numbers * 1e-30, np.float32([-1, 0, 1])])
    order = np.argsort(numbers, kind="stable")
    keys = calibration._ordered(numbers)
    np.testing.assert_array_equal(np.argsort(keys, kind="stable"), order)


def test_memory_does_not_grow_with_the_pairs():
    peaks = []
    for num_people in (1100, 2200):
        rows, labels = people(num_people, 2, d=8)
        tracemalloc.start()
        calibrate_threshold(rows, labels, 1e-3)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Four times the pairs: 39 MB of cosines, which are seen 4 MB at a time.
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize(
    ("labels", "rate", "reason"),
    [
        (
            [0, 0, 1],
            1.0,
            "false_match_rate is 1.0, must be more than 0 and less than 1",
        ),
        ([0, 0, 0], 0.5, "labels hold one person"),
        ([0, 0, 1], 0.3, "which 2 impostor pairs of 2 people can't tell.*least 0.5"),
        (None, 0.5, "labels are None"),
    ],
)
def test_what_cannot_be_told_is_refused(labels, rate, reason):
    with pytest.raises(InputError, match=reason):
        calibrate_threshold(np.eye(3, dtype=np.float32), labels, rate)
