"""Measures of fairness against numbers by hand, plain loops and global thresholds."""

import numpy as np
import pytest

from bridges.evaluation.fairness import fairness, fairness_measures
from bridges.evaluation.scored_pairs import ScoredPairs, joined
from bridges.evaluation.verification_metrics import evaluate_verification
from hyperface_jax import InputError
from tests.evaluation.verification_metrics_test import random_pairs

FMR, FNMR = np.array([0.01, 0.02, 0.04]), np.array([0.1, 0.2, 0.1])
ACCURACY = np.array([0.95, 0.9, 0.98])


def test_measures_by_hand():
    found = fairness_measures(FMR, FNMR, ACCURACY, alpha=0.25)
    assert found["fdr"] == pytest.approx(1 - (0.25 * 0.03 + 0.75 * 0.1))
    assert found["inequity_rate"] == pytest.approx(4**0.25 * 2**0.75)
    assert found["skewed_error_ratio"] == pytest.approx(0.1 / 0.02)
    assert found["fmr_max_over_mean"] == pytest.approx(2)  # the mean is 0.02
    assert found["fnmr_max_over_mean"] == pytest.approx(0.2 / (0.002 ** (1 / 3)))
    assert found["accuracy_std"] == pytest.approx(np.std([0.95, 0.9, 0.98]))


def test_garbe_is_the_gini_coefficient_by_loops():
    def gini(rates):
        n = len(rates)
        apart = sum(abs(one - other) for one in rates for other in rates)
        return n / (n - 1) * apart / (2 * n**2 * np.mean(rates))

    found = fairness_measures(FMR, FNMR, ACCURACY, alpha=0.25)
    assert found["garbe"] == pytest.approx(0.25 * gini(FMR) + 0.75 * gini(FNMR))
    # All the errors in one group: the corrected coefficient is 1.
    alone = np.array([0.0, 0.3, 0.0])
    assert fairness_measures(alone, alone, 1 - alone)["garbe"] == pytest.approx(1)


def test_equal_groups_are_fair_and_no_errors_are_undefined():
    equal = np.full(4, 0.1)
    found = fairness_measures(equal, equal, 1 - equal)
    assert found["fdr"] == 1 and found["inequity_rate"] == pytest.approx(1)
    assert found["garbe"] == 0 and found["skewed_error_ratio"] == pytest.approx(1)
    none = np.zeros(4)
    found = fairness_measures(none, none, 1 - none)
    assert found["fdr"] == 1 and found["accuracy_std"] == 0
    for name in ("inequity_rate", "garbe", "skewed_error_ratio", "fmr_max_over_mean"):
        assert np.isnan(found[name])


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    same = np.arange(900) % 2 == 0
    group = np.array(["a", "b", "mixed"])[np.arange(900) % 9 // 3]
    group[same & (group == "mixed")] = "a"
    scores = rng.normal(size=900) / 4 + same / 2 + 0.15 * (group == "b")
    number = np.arange(900)
    people = np.stack([number, np.where(same, number, (number + 9) % 900)], axis=1)
    return ScoredPairs(scores, scores > 0, same, people, group)


def test_one_threshold_serves_all_groups(pairs):
    grid = np.linspace(1, -1, 201)
    found = fairness(pairs, ("3e-1", "1e-4"), grid)
    assert found["compared"] == ["a", "b"], "mixed has no genuine pair"
    assert set(found["at"]) == {"best_accuracy", "3e-1"}, "1e-4 can't be told"
    right = [np.mean((pairs.cosines > t) == pairs.same) for t in grid]
    assert found["at"]["best_accuracy"]["threshold"] == grid[int(np.argmax(right))]
    at = found["at"]["3e-1"]
    above = pairs.cosines > at["threshold"]
    assert np.mean(above[~pairs.same]) == pytest.approx(0.3, abs=1 / 450)
    rates = {"fmr": [], "fnmr": [], "accuracy": []}
    for name in "ab":
        rows = pairs.group == name
        rates["fmr"].append(above[rows & ~pairs.same].mean())
        rates["fnmr"].append((~above[rows & pairs.same]).mean())
        rates["accuracy"].append((above == pairs.same)[rows].mean())
        group = at["groups"][name]
        assert group["false_match_rate"] == rates["fmr"][-1]
        low, high = group["intervals"]["false_match_rate"]
        assert low < rates["fmr"][-1] < high
    expected = fairness_measures(*map(np.array, rates.values()))
    for name, one in at["measures"].items():
        assert one["value"] == pytest.approx(float(expected[name]))
        low, high = one["interval"]
        assert low < one["value"] < high, name


def test_a_person_in_every_pair_leaves_no_interval(pairs):
    """Half of the replicates are without that person, and so without any pair."""
    alone = pairs._replace(people=np.where(pairs.same[:, None], pairs.people, 7))
    at = fairness(alone, (), np.array([0.3]))["at"]["best_accuracy"]
    assert at["measures"]["fdr"]["value"] is not None
    assert at["measures"]["fdr"]["interval"] is None


def test_fairness_needs_groups(pairs):
    one = pairs._replace(group=np.full(900, "a"))
    assert fairness(one, (), np.array([0.0])) is None
    with pytest.raises(InputError, match="no group"):
        fairness(pairs._replace(group=None), (), np.array([0.0]))
    with pytest.raises(InputError, match="alpha"):
        fairness(pairs, (), np.array([0.0]), alpha=2)


def test_people_of_two_sets_are_different_people(pairs):
    both = joined([pairs, pairs])
    assert len(np.unique(both.people)) == 2 * len(np.unique(pairs.people))
    assert both.cosines.tolist() == [*pairs.cosines, *pairs.cosines]
    assert both.group.tolist() == [*pairs.group, *pairs.group]


def test_evaluation_reports_groups_with_intervals_and_fairness():
    first, second, same = random_pairs(7, n=400)
    fold, group = np.arange(400) // 40, np.where(np.arange(400) % 3 == 0, "a", "b")
    result = evaluate_verification(first, second, same, fold, group)
    assert result["intervals"]["people_from"] == "each pair"
    assert result["intervals"]["num_people"] == 600
    low, high = result["groups"]["a"]["intervals"]["accuracy"]
    assert low < result["groups"]["a"]["accuracy"] < high
    assert result["fairness"]["compared"] == ["a", "b"]
    assert set(result["fairness"]["at"]) == {"best_accuracy", "1e-2"}
    people = np.zeros((400, 3), int)
    with pytest.raises(InputError, match="two whole numbers for each of the 400 pairs"):
        evaluate_verification(first, second, same, fold, people=people)
    with pytest.raises(InputError, match="an entry for each pair"):
        evaluate_verification(first, second, same, fold, group[1:])
