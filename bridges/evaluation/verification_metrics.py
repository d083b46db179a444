"""Face verification: are two images of one person? Accuracy, ROC, confusion.

The accuracy is the protocol of LFW as insightface computes it: for each of ten folds
the threshold on the squared distance that is best on the other nine, of 0, 0.01, …,
3.99, the smallest of equals; a pair is accepted when its distance is strictly below.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy import stats

from hyperface_jax import InputError

THRESHOLDS = np.arange(0, 4, 0.01)
FALSE_ACCEPT_RATES = ("1e-2", "1e-3", "1e-4")


def evaluate_verification(
    embeddings_first: np.ndarray,
    embeddings_second: np.ndarray,
    same: np.ndarray,
    fold: np.ndarray,
    group: np.ndarray | None = None,
) -> dict[str, Any]:
    """All figures of a verification set.

    Args:
      embeddings_first: ``[p, d]``, unit rows, of each pair's first image.
      embeddings_second: ``[p, d]``, of the second.
      same: ``[p]`` bool, whether the pair shows one person.
      fold: ``[p]`` integers, the fold of each pair; at least two folds.
      group: ``[p]`` labels to report by, or None.

    Returns:
      JSON-ready: ``accuracy`` (mean over folds) and ``accuracy_std`` (ddof = 0) as
      fractions, ``fold_accuracies``, ``threshold`` (mean over folds, a cosine) and
      ``fold_thresholds``, ``confusion`` (counts over the held-out folds), ``auc``,
      ``eer``, ``tar_at_far`` by rate (None where too few pairs tell), ``num_pairs``,
      ``num_same``, ``num_folds``, ``cosine`` (mean and std of both kinds of pairs) and,
      given groups, ``groups`` as :func:`group_rates` returns them, each at the
      thresholds of all.

    Raises:
      InputError: shapes that disagree, non-finite embeddings, pairs of one kind only,
        or a single fold.
    """
    try:
        same, fold = np.asarray(same), np.asarray(fold)
        first = np.asarray(embeddings_first, np.float64)
        second = np.asarray(embeddings_second, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"embeddings, same and fold: not all arrays ({error})"
        ) from None
    group = None if group is None else np.asarray(group)
    _check(first, second, same, fold, group)
    same = same.astype(bool)
    distances = np.square(first - second).sum(1)
    cosines = 1 - distances / 2
    accepted, accuracies, thresholds = cross_validate(distances, same, fold)
    result = {
        "num_pairs": len(same),
        "num_same": int(same.sum()),
        "num_folds": len(accuracies),
        "accuracy": float(accuracies.mean()),
        "accuracy_std": float(accuracies.std()),
        "fold_accuracies": accuracies.tolist(),
        "threshold": float((1 - thresholds / 2).mean()),
        "fold_thresholds": (1 - thresholds / 2).tolist(),
        "confusion": confusion(accepted, same),
        "auc": area_under_curve(cosines, same),
        "eer": equal_error_rate(cosines, same),
        "tar_at_far": {
            rate: true_accept_rate(cosines, same, float(rate))
            for rate in FALSE_ACCEPT_RATES
        },
        "cosine": {
            f"{kind}_{name}": float(figure(cosines[rows]))
            for kind, rows in (("same", same), ("different", ~same))
            for name, figure in (("mean", np.mean), ("std", np.std))
        },
    }
    if group is not None:
        result["groups"] = _rates_by_group(accepted, same, group)
    return result


def cross_validate(
    distances: np.ndarray, same: np.ndarray, fold: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds from all folds but one, decisions on that one.

    Args:
      distances: ``[p]`` squared distances of unit vectors, 0 to 4.
      same: ``[p]`` bool.
      fold: ``[p]`` integers.

    Returns:
      ``accepted`` ``[p]`` bool, ``accuracies`` ``[folds]`` and ``thresholds``
      ``[folds]`` on the squared distance.
    """
    names, fold = np.unique(fold, return_inverse=True)
    # A pair is accepted from the first threshold above its distance on.
    position = np.searchsorted(THRESHOLDS, distances, side="right")
    counts = np.zeros((2, len(names), len(THRESHOLDS) + 1), np.int64)
    np.add.at(counts, (same.astype(int), fold, position), 1)
    sizes = counts.sum(2)
    below = counts.cumsum(2)[:, :, :-1]
    correct = below[1] + sizes[0][:, None] - below[0]
    # Integers, so that equal accuracies are equal and the first of them is taken.
    best = (correct.sum(0) - correct).argmax(1)
    accuracies = correct[np.arange(len(names)), best] / sizes.sum(0)
    thresholds = THRESHOLDS[best]
    return distances < thresholds[fold], accuracies, thresholds


def confusion(accepted: np.ndarray, same: np.ndarray) -> dict[str, int]:
    """Counts of the four outcomes."""
    return {
        "true_accept": int((accepted & same).sum()),
        "false_reject": int((~accepted & same).sum()),
        "false_accept": int((accepted & ~same).sum()),
        "true_reject": int((~accepted & ~same).sum()),
    }


def group_rates(
    confusions: Mapping[str, Mapping[str, int]],
) -> dict[str, dict[str, Any]]:
    """Error rates of demographic groups, from the counts of their outcomes.

    Returns:
      By group: ``num_pairs``, ``accuracy``, ``false_match_rate`` (strangers accepted)
      and ``false_non_match_rate`` (friends rejected) as ISO/IEC 19795-1 names them,
      None without a pair of that kind; and ``confusion``.
    """

    def rate(errors: int, correct: int) -> float | None:
        return errors / (errors + correct) if errors + correct else None

    return {
        name: {
            "num_pairs": sum(found.values()),
            "accuracy": (found["true_accept"] + found["true_reject"])
            / sum(found.values()),
            "false_match_rate": rate(found["false_accept"], found["true_reject"]),
            "false_non_match_rate": rate(found["false_reject"], found["true_accept"]),
            "confusion": dict(found),
        }
        for name, found in sorted(confusions.items())
    }


def _rates_by_group(
    accepted: np.ndarray, same: np.ndarray, group: np.ndarray
) -> dict[str, dict[str, Any]]:
    return group_rates(
        {
            str(name): confusion(accepted[group == name], same[group == name])
            for name in np.unique(group)
        }
    )


def pool_groups(results: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """:func:`group_rates` over the pairs of several verification sets together.

    Args:
      results: of :func:`evaluate_verification`; those without groups are passed over.
    """
    pooled: dict[str, Counter[str]] = {}
    for result in results:
        for name, found in result.get("groups", {}).items():
            pooled.setdefault(name, Counter()).update(found["confusion"])
    return group_rates(pooled)


def area_under_curve(scores: np.ndarray, same: np.ndarray) -> float:
    """Probability that a pair of one person scores above a pair of two; ties half."""
    positives = int(same.sum())
    ranks = stats.rankdata(scores)[same].sum() - positives * (positives + 1) / 2
    return float(ranks / (positives * (len(same) - positives)))


def equal_error_rate(scores: np.ndarray, same: np.ndarray) -> float:
    """Where as many strangers are accepted as friends rejected, interpolated.

    The two rates are step functions of the threshold; where they cross between two
    thresholds, the crossing of the straight lines is taken.
    """
    thresholds = np.concatenate(([-np.inf], np.unique(scores)))
    friends, strangers = np.sort(scores[same]), np.sort(scores[~same])
    # Accepted are the scores above the threshold.
    rejected = np.searchsorted(friends, thresholds, side="right") / len(friends)
    accepted = 1 - np.searchsorted(strangers, thresholds, side="right") / len(strangers)
    gap = rejected - accepted
    after = int(np.argmax(gap >= 0))
    before = after - 1
    share = -gap[before] / (gap[after] - gap[before])
    return float(rejected[before] + share * (rejected[after] - rejected[before]))


def true_accept_rate(
    scores: np.ndarray, same: np.ndarray, false_accept_rate: float
) -> float | None:
    """Fraction of friends accepted when at most this fraction of strangers is.

    None with fewer strangers than ``1 / false_accept_rate``: they can't tell the rate.
    """
    strangers = np.sort(scores[~same])[::-1]
    # The margin keeps 0.01 * 300 from being 2.9999999.
    allowed = int(false_accept_rate * len(strangers) + 1e-9)
    if allowed == 0 < false_accept_rate:
        return None
    if allowed >= len(strangers):
        return 1.0
    return float((scores[same] > strangers[allowed]).mean())


def _check(
    first: np.ndarray,
    second: np.ndarray,
    same: np.ndarray,
    fold: np.ndarray,
    group: np.ndarray | None,
) -> None:
    if first.ndim != 2 or first.shape != second.shape:
        raise InputError(
            f"embeddings have shapes {first.shape} and {second.shape}, expected "
            "[pairs, d] twice"
        )
    if same.shape != (len(first),) or fold.shape != (len(first),):
        raise InputError(
            f"same {same.shape} and fold {fold.shape} must have an entry for each of "
            f"the {len(first)} pairs"
        )
    if same.dtype.kind not in "biuf" or not np.isin(same, (0, 1)).all():
        raise InputError("same is neither 0 nor 1, True nor False, for every pair")
    if group is not None and group.shape != same.shape:
        raise InputError(f"group {group.shape} must have an entry for each pair")
    if fold.dtype.kind == "f" and not np.isfinite(fold).all():
        raise InputError("fold is not finite for every pair")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InputError("embeddings are not finite")
    if same.all() or not same.any():
        raise InputError("all pairs are of one kind; verification needs both")
    folds = np.unique(fold)
    if len(folds) < 2:
        raise InputError("all pairs are in one fold; cross-validation needs two")
    for name in folds:
        if len(np.unique(same[fold == name])) == 1:
            warnings.warn(
                f"fold {name} has pairs of one kind only; its accuracy says little",
                stacklevel=3,
            )
