"""The bootstrap over people and the error curve, against plain weights."""

import numpy as np
import pytest
from sklearn import metrics

from bridges.evaluation.bootstrap import Replicates, bounds_by, bounds_of
from bridges.evaluation.error_curve import curve_replicates, described, error_curve
from bridges.evaluation.error_rates import equal_error_rate, true_accept_rate
from bridges.evaluation.people import own_people
from bridges.evaluation.scored_pairs import ScoredPairs
from bridges.evaluation.uncertainty import uncertainty


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    same = np.arange(600) % 3 == 0
    scores = np.round(rng.normal(size=600) / 4 + same / 2, 3)
    people = rng.integers(0, 80, (600, 2))
    people[same, 1] = people[same, 0]
    return ScoredPairs(scores, scores > 0.3, same, people)


def weights_of(people, number, seed=0):
    """Each pair's weight in each replicate, person by person."""
    names = np.unique(people).tolist()
    drawn = np.random.default_rng(seed).integers(
        0, 2, (len(names), number), dtype=np.uint8
    )
    weight = {name: 2 * row.astype(int) for name, row in zip(names, drawn, strict=True)}
    return np.array([weight[a] * weight[b] for a, b in people.tolist()])


def test_counts_are_sums_of_products_of_weights(pairs, monkeypatch):
    monkeypatch.setattr("bridges.evaluation.bootstrap._BLOCK", 50 * 64)
    cells = np.random.default_rng(1).integers(0, 5, 600)
    cells[cells == 3] = 4  # an empty cell
    weights = weights_of(pairs.people, 64)
    found = Replicates(pairs.people, 64).counts(cells, 5)
    for cell in range(5):
        expected = (weights[cells == cell] > 0).sum(0)
        np.testing.assert_array_equal(found[cell], expected)


def test_independent_genuine_pairs_have_the_binomial_deviation():
    same = np.ones(1000, bool)
    replicates = Replicates(own_people(same), 4000)
    counts = replicates.counts((np.arange(1000) < 300).astype(int), 2)
    low, high = bounds_by(lambda n: n[1] / n.sum(0), counts)
    deviation = np.sqrt(0.3 * 0.7 / 1000)
    assert (low, high) == pytest.approx(
        (0.3 - 1.96 * deviation, 0.3 + 1.96 * deviation), abs=0.15 * deviation
    )


def test_independent_impostor_pairs_are_root_three_too_wide():
    """As the module says: a pair weighs 4 once in four, variance 3."""
    replicates = Replicates(own_people(np.zeros(1000, bool)), 4000)
    counts = replicates.counts((np.arange(1000) < 300).astype(int), 2)
    low, high = bounds_by(lambda n: n[1] / n.sum(0), counts)
    width = 2 * 1.96 * np.sqrt(3 * 0.3 * 0.7 / 1000)
    assert high - low == pytest.approx(width, rel=0.1)


def test_no_interval_without_a_figure_or_without_spread():
    values = np.linspace(0, 1, 101)
    assert bounds_of(values) == pytest.approx([0.025, 0.975])
    assert bounds_of(np.where(np.arange(101) < 6, np.nan, values)) is None
    assert bounds_of(np.where(np.arange(101) < 5, np.nan, values)) is not None
    assert bounds_of(np.ones(50)) is None


def test_the_curve_is_that_of_scikit_learn(pairs):
    curve = error_curve(pairs.cosines, pairs.same, ("1e-2",))
    far, tar, at = metrics.roc_curve(pairs.same, pairs.cosines, drop_intermediate=False)
    for threshold, fmr, fnmr in zip(*curve, strict=True):
        point = np.flatnonzero(at > threshold)[-1]
        assert (fmr, 1 - fnmr) == pytest.approx((far[point], tar[point]))
    assert curve.fmr[0] == 0 and (np.diff(curve.fmr) > 0).all()
    at_one = curve.fnmr[np.flatnonzero(curve.fmr <= 0.01)[-1]]
    expected = true_accept_rate(pairs.cosines, pairs.same, 0.01)
    assert 1 - at_one == pytest.approx(expected)


def test_replicates_of_the_curve_are_weighted_rates(pairs):
    curve = error_curve(pairs.cosines, pairs.same)
    number = 20
    found = curve_replicates(
        curve, pairs.cosines, pairs.same, Replicates(pairs.people, number)
    )
    weights = weights_of(pairs.people, number)
    for t in (0, 7, len(curve.threshold) - 1):
        above = pairs.cosines > curve.threshold[t]
        for k in range(number):
            rates = [
                np.average(
                    above[pairs.same == kind], weights=weights[:, k][pairs.same == kind]
                )
                for kind in (False, True)
            ]
            assert found.fmr[t, k] == pytest.approx(rates[0])
            assert found.fnmr[t, k] == pytest.approx(1 - rates[1])
    eer = found.equal_error_rate()
    for k in range(number):
        kept = weights[:, k] > 0
        exact = equal_error_rate(pairs.cosines[kept], pairs.same[kept])
        assert eer[k] == pytest.approx(exact, abs=0.02)
        genuine = found.fnmr_at(0.1)[k]
        allowed = true_accept_rate(pairs.cosines[kept], pairs.same[kept], 0.1)
        # The curve's thresholds are some of all.
        assert 0 <= genuine - (1 - allowed) < 0.03


def test_intervals_hold_the_figures_and_are_the_same_again(pairs):
    fold = np.arange(600) // 60
    found = uncertainty(pairs, fold, ("1e-1", "1e-3"))
    assert found == uncertainty(pairs, fold, ("1e-1", "1e-3"))
    assert found != uncertainty(pairs, fold, ("1e-1", "1e-3"), seed=1)
    intervals, right = found["intervals"], pairs.accepted == pairs.same
    exact = {
        "accuracy": right.mean(),
        "false_match_rate": pairs.accepted[~pairs.same].mean(),
        "false_non_match_rate": (~pairs.accepted[pairs.same]).mean(),
    }
    for name, value in exact.items():
        for low, high in (intervals[name], intervals["bootstrap"][name]):
            assert low < value < high < low + 0.2
    tar = true_accept_rate(pairs.cosines, pairs.same, 0.1)
    assert intervals["tar_at_far"]["1e-1"][0] < tar < intervals["tar_at_far"]["1e-1"][1]
    low, high = intervals["bootstrap"]["tar_at_far"]["1e-1"]
    assert low < tar < high
    assert intervals["tar_at_far"]["1e-3"] is None
    low, high = intervals["bootstrap"]["eer"]
    assert low < equal_error_rate(pairs.cosines, pairs.same) < high
    assert intervals["num_people"] == len(np.unique(pairs.people))


def test_the_described_curve_has_bounds_around_it(pairs):
    curve = error_curve(pairs.cosines, pairs.same)
    each = curve_replicates(
        curve, pairs.cosines, pairs.same, Replicates(pairs.people, 200)
    )
    found = described(curve, each)
    assert found["fmr"] == curve.fmr.tolist()
    middle = len(curve.fmr) // 2
    low, high = found["fnmr_low"][middle], found["fnmr_high"][middle]
    assert low <= found["fnmr"][middle] <= high
