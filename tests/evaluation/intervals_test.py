"""Intervals of error rates against SciPy, plain loops and simulated people."""

import numpy as np
import pytest
from scipy import stats

from bridges.evaluation.intervals import (
    decision_intervals,
    mean_bounds,
    rate_interval,
    shared_variance,
    wilson,
)
from bridges.evaluation.people import own_people, people_of_pairs


def variance_by_loops(residuals, people):
    """Products over all pairs of pairs that share a person."""
    total = 0.0
    for one, mine in zip(residuals, people, strict=True):
        for other, theirs in zip(residuals, people, strict=True):
            total += one * other * bool(set(mine) & set(theirs))
    return total


@pytest.mark.parametrize(("hits", "trials"), [(0, 7), (3, 10), (499, 500), (20, 20)])
def test_wilson_is_that_of_scipy(hits, trials):
    found = stats.binomtest(hits, trials).proportion_ci(method="wilson")
    low, high = wilson(hits / trials, trials)
    assert (low, high) == pytest.approx((found.low, found.high), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_variance_counts_every_two_pairs_with_a_common_person_once(seed):
    """With genuine pairs, pairs of the same two people, in both orders, and gaps."""
    rng = np.random.default_rng(seed)
    people = 3 * rng.integers(0, 7, (60, 2))
    residuals = rng.normal(size=60)
    expected = variance_by_loops(residuals, people.tolist())
    assert shared_variance(residuals, people) == pytest.approx(expected)


def test_pairs_that_share_nobody_are_tosses_of_a_coin():
    hits = np.arange(50) < 9
    found = rate_interval(hits, own_people(np.zeros(50, bool)))
    expected = stats.binomtest(9, 50).proportion_ci(method="wilson")
    assert found.effective_pairs == pytest.approx(50)
    assert found.bounds == pytest.approx((expected.low, expected.high))


def test_pairs_of_one_person_that_agree_count_once():
    """20 people, 5 pairs each, of which all or none are hits: 20 tosses."""
    people = np.repeat(np.arange(20), 5)[:, None].repeat(2, 1)
    found = rate_interval(people[:, 0] < 4, people)
    expected = stats.binomtest(4, 20).proportion_ci(method="wilson")
    assert found.effective_pairs == pytest.approx(20)
    assert found.bounds == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("hit", [False, True])
def test_without_an_error_people_are_counted_not_pairs(hit):
    """All 45 pairs of 10 people share them: 5 pairs that don't can be picked."""
    people = np.stack(np.triu_indices(10, 1), axis=1)
    assert rate_interval(np.full(45, hit), people).effective_pairs == 5
    alone = np.arange(10)[:, None].repeat(2, 1)
    assert rate_interval(np.full(10, hit), alone).effective_pairs == 10
    assert rate_interval(np.zeros(0, bool), people[:0]) is None


@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 0.7, 49)])
def test_all_hits_are_exactly_one(weights):
    """49 times 1 / 49 is less than 1, which would leave a variance to divide by."""
    people = np.repeat(np.arange(7), 7)[:, None].repeat(2, 1)
    found = rate_interval(np.ones(49, bool), people, weights)
    assert found.rate == 1 and found.effective_pairs == 7 and found.bounds[1] == 1


def test_coverage_of_people_who_differ():
    """True rates differ by person, so that pairs depend: 95 % still cover the mean."""
    rng = np.random.default_rng(0)
    people = np.stack(np.triu_indices(40, 1), axis=1)
    covered = naive = 0
    for _ in range(200):
        wolf = rng.random(40) < 0.3
        # 0.3 of people are taken for anyone by chance 0.4, others by 0.05.
        chance = np.where(wolf[people].any(1), 0.4, 0.05)
        truth = 0.4 * (1 - 0.7**2) + 0.05 * 0.7**2
        hits = rng.random(len(people)) < chance
        low, high = rate_interval(hits, people).bounds
        covered += low <= truth <= high
        low, high = wilson(hits.mean(), len(hits))
        naive += low <= truth <= high
    assert covered >= 180 and naive < 120


def test_weights_and_kinds():
    same = np.array([True] * 6 + [False] * 4)
    accepted = np.array([1, 1, 1, 0, 1, 1, 0, 1, 0, 0], bool)
    weights = np.where(np.arange(10) < 5, 0.15, 0.05)
    found = decision_intervals(accepted, same, own_people(same), weights)
    right = accepted == same
    assert found["accuracy"].rate == pytest.approx(weights @ right)
    assert found["false_match_rate"].rate == 1 / 4
    assert found["false_non_match_rate"].rate == pytest.approx(1 / 6)
    nothing = decision_intervals(accepted[:6], same[:6], own_people(same[:6]))
    assert nothing["false_match_rate"] is None


def test_the_mean_of_equal_independent_rates_is_as_sure_as_their_squares_say():
    low, high = mean_bounds([0.9] * 4, [(0.8, 0.94)] * 4)
    assert (low, high) == pytest.approx((0.9 - 0.1 / 2, 0.9 + 0.04 / 2))


def test_people_are_what_genuine_pairs_join():
    rng = np.random.default_rng(1)
    images = rng.integers(0, 60, (40, 2)) * 7
    same = rng.random(40) < 0.5
    people = people_of_pairs(images, same)
    group = {int(name): int(name) for name in np.unique(images)}
    for one, other in images[same].tolist():  # joined by renaming everything
        old, new = group[one], group[other]
        group = {name: new if at == old else at for name, at in group.items()}
    expected = np.vectorize(group.get)(images)
    for row in range(40):
        for column in (0, 1):
            mine = expected == expected[row, column]
            assert (mine == (people == people[row, column])).all()
