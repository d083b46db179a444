"""Face verification: are two images of one person? Accuracy, ROC, confusion.

The accuracy is the protocol of LFW as insightface computes it: for each of ten folds
the threshold on the squared distance that is best on the other nine, of 0, 0.01, …,
3.99, the smallest of equals; a pair is accepted when its distance is strictly below.
Its VAL@FAR is in :mod:`bridges.evaluation.validation_rate`.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np

from bridges.datasets.bin_file import contiguous_folds
from bridges.evaluation.error_rates import (
    area_under_curve,
    confusion,
    equal_error_rate,
    true_accept_rate,
)
from bridges.evaluation.fairness import fairness
from bridges.evaluation.group_rates import rates_by_group
from bridges.evaluation.people import own_people
from bridges.evaluation.scored_pairs import ScoredPairs
from bridges.evaluation.uncertainty import uncertainty
from bridges.evaluation.validation_rate import ValidationRate, validation_rate
from hyperface_jax import InputError, checks

THRESHOLDS = np.arange(0, 4, 0.01)
FALSE_ACCEPT_RATES = ("1e-2", "1e-3", "1e-4")
VALIDATION_RATES = ("1e-3",)
# How far from 1 the norm of an embedding may be.
_TOLERANCE = 1e-2


class PairsVerified(NamedTuple):
    """What :func:`verify_pairs` measures on ``p`` pairs.

    Attributes:
      accuracy_mean: mean accuracy over the folds, as a fraction.
      accuracy_std: its standard deviation over the folds (ddof = 0).
      thresholds: ``[folds]`` cosines; a pair of a fold is accepted above the fold's.
      tar_at_far: true accept rate by false accept rate, ``"1e-2"``, ``"1e-3"``,
        ``"1e-4"``; None where there are too few impostor pairs to tell.
      val_at_far: insightface's VAL by false accept rate, ``"1e-3"``: the threshold is
        chosen on the other folds.
      eer: equal error rate.
      auc: area under the ROC curve.
      confusion: counts ``true_accept``, ``false_reject``, ``false_accept`` and
        ``true_reject`` of the decisions on held-out folds.
      fold_accuracies: ``[folds]``, of each held-out fold.
      accepted: ``[p]`` bool, the decisions.
      cosines: ``[p]`` float64, the cosine of each pair.
    """

    accuracy_mean: float
    accuracy_std: float
    thresholds: np.ndarray
    tar_at_far: dict[str, float | None]
    val_at_far: dict[str, ValidationRate]
    eer: float
    auc: float
    confusion: dict[str, int]
    fold_accuracies: np.ndarray
    accepted: np.ndarray
    cosines: np.ndarray


def verify_pairs(
    left: np.ndarray,
    right: np.ndarray,
    is_same: np.ndarray,
    folds: int = 10,
    fold_ids: np.ndarray | None = None,
) -> PairsVerified:
    """Measures how well embeddings tell whether two images show one person.

    Args:
      left: ``[p, d]`` unit rows, of each pair's first image.
      right: ``[p, d]`` unit rows, of the second.
      is_same: ``[p]`` bool, or 0 and 1: whether the pair shows one person.
      folds: number of folds of cross-validation, without ``fold_ids``.
      fold_ids: ``[p]`` integers, the fold of each pair, at least two different ones.
        None for contiguous folds, the first ``p % folds`` of which have one pair more,
        as LFW's protocol cuts them.

    Returns:
      Accuracy, thresholds and error rates.

    Examples:
      Twenty pairs, one of them a genuine one that looks like an impostor:

      >>> import numpy as np
      >>> from bridges import verify_pairs
      >>> is_same = np.arange(20) % 2 == 0
      >>> cosine = np.where(is_same, 0.8, 0.1)
      >>> cosine[0] = 0.0
      >>> left = np.tile([1.0, 0.0], (20, 1))
      >>> right = np.stack([cosine, np.sqrt(1 - cosine**2)], axis=1)
      >>> found = verify_pairs(left, right, is_same)
      >>> round(found.accuracy_mean, 2), found.confusion["false_reject"]
      (0.95, 1)

    Raises:
      InputError: shapes that disagree, embeddings that are not finite or not unit,
        no pairs, pairs of one kind only, folds that are no numbers, a single fold, or
        more folds than pairs.
    """
    try:
        same = np.asarray(is_same)
        first = np.asarray(left, np.float64)
        second = np.asarray(right, np.float64)
        fold = None if fold_ids is None else np.asarray(fold_ids)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"embeddings, same and fold: not all arrays ({error})"
        ) from None
    _check_embeddings(first, second)
    if fold is None:
        checks.whole_number(folds, "folds", 2, max(2, len(first)))
        fold = contiguous_folds(len(first), folds)
    _check_labels(same, fold, len(first))
    same = same.astype(bool)
    distances = np.square(first - second).sum(1)
    cosines = 1 - distances / 2
    accepted, accuracies, thresholds = cross_validate(distances, same, fold)
    return PairsVerified(
        accuracy_mean=float(accuracies.mean()),
        accuracy_std=float(accuracies.std()),
        thresholds=1 - thresholds / 2,
        tar_at_far={
            rate: true_accept_rate(cosines, same, float(rate))
            for rate in FALSE_ACCEPT_RATES
        },
        val_at_far={
            rate: validation_rate(distances, same, fold, float(rate))
            for rate in VALIDATION_RATES
        },
        eer=equal_error_rate(cosines, same),
        auc=area_under_curve(cosines, same),
        confusion=confusion(accepted, same),
        fold_accuracies=accuracies,
        accepted=accepted,
        cosines=cosines,
    )


def evaluate_verification(
    embeddings_first: np.ndarray,
    embeddings_second: np.ndarray,
    same: np.ndarray,
    fold: np.ndarray,
    group: np.ndarray | None = None,
    *,
    people: np.ndarray | None = None,
) -> dict[str, Any]:
    """All figures of a verification set.

    Args:
      embeddings_first: ``[p, d]``, unit rows, of each pair's first image.
      embeddings_second: ``[p, d]``, of the second.
      same: ``[p]`` bool, whether the pair shows one person.
      fold: ``[p]`` integers, the fold of each pair; at least two folds.
      group: ``[p]`` labels to report by, or None.
      people: ``[p, 2]`` integers, who is on each pair's images, for the intervals; None
        where nothing is known: the people of each pair are then taken for its own.

    Returns:
      JSON-ready: ``accuracy`` (mean over folds) and ``accuracy_std`` (ddof = 0) as
      fractions, ``fold_accuracies``, ``threshold`` (mean over folds, a cosine) and
      ``fold_thresholds``, ``confusion`` (counts over the held-out folds), ``auc``,
      ``eer``, ``tar_at_far`` by rate (None where too few pairs tell), ``val_at_far``
      by rate (``val``, ``val_std``, ``far``, as insightface), ``num_pairs``,
      ``num_same``, ``num_folds``, ``cosine`` (mean and std of both kinds of pairs),
      ``intervals`` and ``curve`` (:func:`bridges.evaluation.uncertainty.uncertainty`)
      and, given groups, ``groups`` as
      :func:`bridges.evaluation.group_rates.rates_by_group` returns them, each at the
      thresholds of all, and ``fairness``, at one threshold
      (:func:`bridges.evaluation.fairness.fairness`).

    Raises:
      InputError: as :func:`verify_pairs`, or a group or people that not every pair has.
    """
    return measure_pairs(
        verify_pairs(embeddings_first, embeddings_second, same, fold_ids=fold),
        same,
        fold,
        group,
        people,
    )[0]


def measure_pairs(
    found: PairsVerified,
    same: np.ndarray,
    fold: np.ndarray,
    group: np.ndarray | None = None,
    people: np.ndarray | None = None,
) -> tuple[dict[str, Any], ScoredPairs]:
    """What :func:`evaluate_verification` returns, and the pairs with their decisions.

    Args:
      found: of :func:`verify_pairs`.
      same: as there, and so the others.
      fold: likewise.
      group: likewise.
      people: likewise.
    """
    same = np.asarray(same).astype(bool)
    pairs = ScoredPairs(
        found.cosines, found.accepted, same, *_check_about(same, group, people)
    )
    result = {
        "num_pairs": len(same),
        "num_same": int(same.sum()),
        "num_folds": len(found.fold_accuracies),
        "accuracy": found.accuracy_mean,
        "accuracy_std": found.accuracy_std,
        "fold_accuracies": found.fold_accuracies.tolist(),
        "threshold": float(found.thresholds.mean()),
        "fold_thresholds": found.thresholds.tolist(),
        "confusion": found.confusion,
        "auc": found.auc,
        "eer": found.eer,
        "tar_at_far": found.tar_at_far,
        "val_at_far": {
            rate: rates._asdict() for rate, rates in found.val_at_far.items()
        },
        "cosine": {
            f"{kind}_{name}": float(figure(found.cosines[rows]))
            for kind, rows in (("same", same), ("different", ~same))
            for name, figure in (("mean", np.mean), ("std", np.std))
        },
        **uncertainty(pairs, fold, FALSE_ACCEPT_RATES),
    }
    result["intervals"]["people_from"] = "each pair" if people is None else "given"
    if pairs.group is not None:
        result["groups"] = rates_by_group(*pairs[1:3], pairs.group, pairs.people)
        result["fairness"] = fairness_of(pairs)
    return result, pairs


def fairness_of(pairs: ScoredPairs) -> dict[str, Any] | None:
    """:func:`bridges.evaluation.fairness.fairness` at this protocol's thresholds."""
    return fairness(pairs, FALSE_ACCEPT_RATES, 1 - THRESHOLDS / 2)


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


def _check_embeddings(first: np.ndarray, second: np.ndarray) -> None:
    if first.ndim != 2 or first.shape != second.shape:
        raise InputError(
            f"embeddings have shapes {first.shape} and {second.shape}, expected "
            "[pairs, d] twice"
        )
    if not len(first):
        raise InputError("no pairs to verify")
    for rows in (first, second):
        # Not finite, too, where a row isn't.
        norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        if not np.isfinite(norms).all():
            raise InputError("embeddings are not finite")
        # Zeros, of a network without a response, have no direction to measure.
        off = np.flatnonzero((norms > 0) & (np.abs(norms - 1) > _TOLERANCE))
        if len(off):
            raise InputError(
                f"embeddings of pair {off[0]} have norm {norms[off[0]]:.3g}, expected "
                "1; divide each row by its norm"
            )


def _check_about(
    same: np.ndarray, group: np.ndarray | None, people: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """People and group as arrays with an entry for each pair."""
    if group is not None and np.shape(group) != same.shape:
        raise InputError(f"group {np.shape(group)} must have an entry for each pair")
    if people is None:
        people = own_people(same)
    people = np.asarray(people)
    if people.shape != (len(same), 2) or people.dtype.kind not in "iu":
        raise InputError(
            f"people {people.dtype} {people.shape} must be two whole numbers for each "
            f"of the {len(same)} pairs"
        )
    return people.astype(np.int64), None if group is None else np.asarray(group)


def _check_labels(same: np.ndarray, fold: np.ndarray, num_pairs: int) -> None:
    if same.shape != (num_pairs,) or fold.shape != (num_pairs,):
        raise InputError(
            f"same {same.shape} and fold {fold.shape} must have an entry for each of "
            f"the {num_pairs} pairs"
        )
    if same.dtype.kind not in "biuf" or not np.isin(same, (0, 1)).all():
        raise InputError("same is neither 0 nor 1, True nor False, for every pair")
    whole = fold.dtype.kind in "biu" or (
        fold.dtype.kind == "f" and np.isfinite(fold).all() and (fold % 1 == 0).all()
    )
    if not whole:
        raise InputError(
            f"fold is of type {fold.dtype}, expected a whole number for every pair"
        )
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
