"""Verification figures against brute force, scikit-learn and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics, model_selection

from bridges.evaluation.error_rates import (
    area_under_curve,
    equal_error_rate,
    true_accept_rate,
)
from bridges.evaluation.group_rates import pool_groups
from bridges.evaluation.verification import evaluate_verification
from bridges.evaluation.verification_metrics import cross_validate, verify_pairs
from hyperface_jax import InputError


def brute_force(distances, same, fold):
    """insightface's protocol, loop by loop."""
    thresholds = np.arange(0, 4, 0.01)
    accuracies, chosen = [], []
    for k in np.unique(fold):
        train, test = fold != k, fold == k
        scores = [
            np.mean((distances[train] < threshold) == same[train])
            for threshold in thresholds
        ]
        best = thresholds[int(np.argmax(scores))]
        accuracies.append(np.mean((distances[test] < best) == same[test]))
        chosen.append(best)
    return np.array(accuracies), np.array(chosen)


def random_pairs(seed, n=200, d=8, closeness=1.0):
    """Unit rows; pairs of one person share a part of their direction."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, n, d))
    same = rng.permutation(np.arange(n) % 2 == 0)
    second[same] += closeness * first[same]
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    return first.astype(np.float32), second.astype(np.float32), same


class TestCrossValidate:
    @pytest.mark.parametrize("seed", range(5))
    def test_equals_brute_force(self, seed):
        first, second, same = random_pairs(seed)
        fold = np.arange(len(same)) // 20
        distances = np.square(first.astype(float) - second).sum(1)
        accepted, accuracies, thresholds = cross_validate(distances, same, fold)
        expected = brute_force(distances, same, fold)
        np.testing.assert_allclose(accuracies, expected[0], rtol=1e-12)
        np.testing.assert_array_equal(thresholds, expected[1])
        by_hand = [np.mean((accepted == same)[fold == k]) for k in range(10)]
        np.testing.assert_allclose(by_hand, accuracies)

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.integers(0, 3))))
    def test_equals_brute_force_on_the_grid(self, rows):
        # Distances exactly on thresholds: "strictly below" and "first of equals" count.
        rows += [(0, True, 0), (0, False, 1)]
        steps, same, fold = (np.array(column) for column in zip(*rows, strict=True))
        distances = steps * 0.01
        _, accuracies, thresholds = cross_validate(distances, same, fold)
        expected = brute_force(distances, same, fold)
        np.testing.assert_array_equal(thresholds, expected[1])
        np.testing.assert_allclose(accuracies, expected[0])


class TestCurves:
    @pytest.mark.parametrize("decimals", [1, 8])
    def test_area_equals_scikit_learn(self, decimals):
        rng = np.random.default_rng(0)
        same = rng.random(500) < 0.3
        scores = np.round(rng.normal(size=500) + same, decimals)
        expected = metrics.roc_auc_score(same, scores)
        assert area_under_curve(scores, same) == pytest.approx(expected, abs=1e-12)

    def test_equal_error_rate_of_two_gaussians(self):
        # Means 2 apart, deviation 1: the rates cross midway, at Phi(-1) = 0.158655.
        rng = np.random.default_rng(1)
        same = np.arange(200_000) % 2 == 0
        scores = rng.normal(size=len(same)) + 2 * same
        assert equal_error_rate(scores, same) == pytest.approx(0.158655, abs=2e-3)

    @pytest.mark.parametrize("decimals", [1, 8])
    def test_equal_error_rate_lies_on_scikit_learns_curve(self, decimals):
        rng = np.random.default_rng(2)
        same = rng.random(300) < 0.5
        scores = np.round(rng.normal(size=300) + same, decimals)
        far, tar, _ = metrics.roc_curve(same, scores, drop_intermediate=False)
        rate = equal_error_rate(scores, same)
        assert 1 - np.interp(rate, far, tar) == pytest.approx(rate, abs=5e-3)

    @pytest.mark.parametrize("separable", [True, False])
    def test_equal_error_rate_at_the_ends(self, separable):
        same = np.array([True, True, False, False])
        scores = np.array([3.0, 4.0, 1.0, 2.0]) * (1 if separable else -1)
        assert equal_error_rate(scores, same) == (0.0 if separable else 1.0)
        assert area_under_curve(scores, same) == (1.0 if separable else 0.0)

    @pytest.mark.parametrize("rate", [0.0, 0.01, 0.015, 0.1, 0.5, 1.0])
    def test_true_accept_rate_is_the_best_of_all_thresholds(self, rate):
        rng = np.random.default_rng(3)
        same = np.arange(400) % 2 == 0
        scores = np.round(rng.normal(size=400) + same, 2)
        best = 0.0
        for threshold in (-np.inf, *scores):
            if np.mean(scores[~same] > threshold) <= rate:
                best = max(best, np.mean(scores[same] > threshold))
        assert true_accept_rate(scores, same, rate) == pytest.approx(best)
        # 200 impostor pairs can't tell a rate below a half per cent.
        assert true_accept_rate(scores, same, 0.004) is None


class TestVerifyPairs:
    @pytest.mark.parametrize(("n", "folds"), [(200, 10), (203, 10), (50, 3)])
    def test_equals_insightfaces_protocol_on_its_folds(self, n, folds):
        left, right, same = random_pairs(5, n=n)
        parts = model_selection.KFold(folds, shuffle=False).split(same)
        ids = np.empty(n, int)
        for k, (_, held_out) in enumerate(parts):
            ids[held_out] = k
        distances = np.square(left.astype(float) - right).sum(1)
        accuracies, thresholds = brute_force(distances, same, ids)
        found = verify_pairs(left, right, same, folds)
        np.testing.assert_allclose(found.fold_accuracies, accuracies, rtol=1e-12)
        assert found.accuracy_mean == pytest.approx(accuracies.mean())
        assert found.accuracy_std == pytest.approx(accuracies.std())
        np.testing.assert_allclose(found.thresholds, 1 - thresholds / 2)
        by_id = verify_pairs(left, right, same, fold_ids=ids)
        assert by_id.confusion == found.confusion

    def test_rates_equal_scikit_learn(self):
        left, right, same = random_pairs(6, n=1000)
        found = verify_pairs(left, right, same.astype(int))
        cosines = (left.astype(float) * right).sum(1)
        assert found.auc == pytest.approx(metrics.roc_auc_score(same, cosines))
        far, tar, _ = metrics.roc_curve(same, cosines, drop_intermediate=False)
        assert found.tar_at_far["1e-2"] == pytest.approx(tar[far <= 0.01].max())
        low, high = np.minimum(far, 1 - tar).max(), np.maximum(far, 1 - tar).min()
        assert 0 < low - 1e-9 <= found.eer <= high + 1e-9 < low + 0.01
        expected = metrics.confusion_matrix(same, found.accepted)
        names = ("true_reject", "false_accept", "false_reject", "true_accept")
        assert [found.confusion[name] for name in names] == expected.ravel().tolist()

    @pytest.mark.parametrize("folds", [1, 41, 2.5, None])
    def test_impossible_folds_are_refused(self, folds):
        left, right, same = random_pairs(0, n=40)
        with pytest.raises(InputError, match="folds"):
            verify_pairs(left, right, same, folds)

    def test_rows_that_are_not_unit_are_refused(self):
        left, right, same = random_pairs(0, n=40)
        right[7] *= 3
        with pytest.raises(InputError, match="pair 7 have norm 3, expected 1; divide"):
            verify_pairs(left, right, same)


class TestEvaluate:
    def test_figures_agree_with_each_other(self):
        first, second, same = random_pairs(7, n=400)
        fold = np.arange(400) // 40
        group = np.where(np.arange(400) % 3 == 0, "a", "b")
        result = evaluate_verification(first, second, same, fold, group)
        cosines = (first.astype(float) * second).sum(1)
        expected = metrics.roc_auc_score(same, cosines)
        assert result["auc"] == pytest.approx(expected, abs=1e-6)
        assert result["accuracy"] == pytest.approx(np.mean(result["fold_accuracies"]))
        assert result["accuracy_std"] == pytest.approx(
            np.std(result["fold_accuracies"])
        )
        counts = result["confusion"]
        assert sum(counts.values()) == 400
        right = counts["true_accept"] + counts["true_reject"]
        # The folds are equally large, so the mean over folds is the mean over pairs.
        assert right / 400 == pytest.approx(result["accuracy"])
        assert counts["true_accept"] + counts["false_reject"] == result["num_same"]
        groups = result["groups"]
        assert groups["a"]["num_pairs"] == 134 and groups["b"]["num_pairs"] == 266
        for key in counts:
            parts = [groups[name]["confusion"][key] for name in "ab"]
            assert sum(parts) == counts[key]
        # 200 impostor pairs tell a rate of 1 %, and no less.
        assert result["tar_at_far"]["1e-2"] <= 1 - result["eer"]
        assert result["tar_at_far"]["1e-3"] is result["tar_at_far"]["1e-4"] is None
        assert result["num_folds"] == 10

    def test_group_rates_are_those_of_the_groups_pairs(self):
        first, second, same = random_pairs(7, n=400)
        fold = np.arange(400) // 40
        # Group c has pairs of one kind only.
        group = np.where(same, np.array(["a", "b", "c", "b"])[np.arange(400) % 4], "a")
        result = evaluate_verification(first, second, same, fold, group)
        distances = np.square(first.astype(float) - second).sum(1)
        limits = 2 - 2 * np.array(result["fold_thresholds"])
        accepted = distances < limits[fold]
        for name in "abc":
            rows, found = group == name, result["groups"][name]
            assert found["accuracy"] == np.mean((accepted == same)[rows])
            assert found["false_non_match_rate"] == np.mean(~accepted[rows & same])
        impostors = (group == "a") & ~same
        rate = result["groups"]["a"]["false_match_rate"]
        assert rate == np.mean(accepted[impostors]) > 0
        assert result["groups"]["c"]["false_match_rate"] is None
        pooled = pool_groups([result, {"accuracy": 1.0}, result])
        assert pooled["a"]["num_pairs"] == 2 * (group == "a").sum()
        assert pooled["a"]["false_match_rate"] == rate

    def test_rotation_and_exchange_change_nothing(self):
        first, second, same = random_pairs(4)
        fold = np.arange(len(same)) % 10
        rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))
        one = evaluate_verification(first, second, same, fold)
        two = evaluate_verification(second @ rotation, first @ rotation, same, fold)
        assert one["auc"] == pytest.approx(two["auc"], abs=1e-4)
        assert one["accuracy"] == pytest.approx(two["accuracy"], abs=0.02)

    def test_perfect_and_hopeless(self):
        embeddings = np.eye(4, dtype=np.float32).repeat(10, 0)
        same = np.arange(40) % 2 == 0
        other = np.where(same[:, None], embeddings, np.roll(embeddings, 10, 0))
        result = evaluate_verification(embeddings, other, same, np.arange(40) // 4)
        assert result["accuracy"] == 1.0 and result["eer"] == 0.0
        assert set(result["tar_at_far"].values()) == {None}, "20 impostor pairs"
        result = evaluate_verification(embeddings, other, ~same, np.arange(40) // 4)
        assert result["accuracy"] == 0.5 and result["auc"] == 0.0

    def test_refusals(self):
        first, second, same = random_pairs(0, n=40)
        fold = np.arange(40) // 4
        with pytest.raises(InputError, match="shapes"):
            evaluate_verification(first, second[:, :4], same, fold)
        with pytest.raises(InputError, match="40 pairs"):
            evaluate_verification(first, second, same[:-1], fold)
        with pytest.raises(InputError, match="one kind"):
            evaluate_verification(first, second, np.ones(40, bool), fold)
        with pytest.raises(InputError, match="one fold"):
            evaluate_verification(first, second, same, np.zeros(40, int))
        with pytest.raises(InputError, match="not finite"):
            evaluate_verification(first * np.nan, second, same, fold)
        with pytest.raises(InputError, match="no pairs"):
            verify_pairs(first[:0], second[:0], same[:0])
        for names in ([None] * 40, ["a", 1] * 20, ["a", "b"] * 20):
            with pytest.raises(InputError, match="expected a whole number"):
                verify_pairs(first, second, same, fold_ids=np.array(names, object))

    def test_one_sided_fold_is_warned_of(self):
        first, second, same = random_pairs(0, n=40)
        with pytest.warns(UserWarning, match="fold 1 has pairs of one kind"):
            fold = np.minimum(np.arange(40) // 10, 1)
            evaluate_verification(first, second, same | (fold == 1), fold)
