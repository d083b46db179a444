"""How sure the figures of a verification set are: 95 % intervals over people.

Wilson's interval with as many pairs as tell something, for shares of pairs; the
bootstrap over people beside it and for figures that are no shares. Both take the
decisions as they are: that another sample of folds would have given other thresholds is
not in them.
"""

from typing import Any

import numpy as np

from bridges.evaluation.bootstrap import Replicates, bounds_by, bounds_of
from bridges.evaluation.error_curve import (
    CurveReplicates,
    curve_replicates,
    described,
    error_curve,
)
from bridges.evaluation.error_rates import allowed_impostors
from bridges.evaluation.intervals import (
    CONFIDENCE,
    RateInterval,
    bounds_only,
    decision_intervals,
    rate_interval,
)
from bridges.evaluation.scored_pairs import ScoredPairs


def uncertainty(
    pairs: ScoredPairs,
    fold: np.ndarray,
    rates: tuple[str, ...],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Intervals of a verification set's figures, and its curve.

    Args:
      pairs: decided on held-out folds.
      fold: ``[p]`` integers; the accuracy is the mean over folds.
      rates: false accept rates to tell the true accept rate at.
      seed: of the bootstrap.

    Returns:
      JSON-ready: ``intervals``, see ``docs/verification.md``, and ``curve``.
    """
    _, fold, sizes = np.unique(fold, return_inverse=True, return_counts=True)
    found = decision_intervals(
        pairs.accepted, pairs.same, pairs.people, 1 / (len(sizes) * sizes[fold])
    )
    replicates = Replicates(pairs.people, seed=seed)
    curve = error_curve(pairs.cosines, pairs.same, rates)
    each = curve_replicates(curve, pairs.cosines, pairs.same, replicates)
    bootstrap = _decision_bounds(pairs, fold, found, replicates)
    bootstrap["eer"] = bounds_of(each.equal_error_rate())
    tar = {rate: _true_accepts(pairs, each, float(rate)) for rate in rates}
    bootstrap["tar_at_far"] = {rate: both[1] for rate, both in tar.items()}
    return {
        "intervals": {
            "confidence": CONFIDENCE,
            "num_people": len(np.unique(pairs.people)),
            "replicates": replicates.number,
            **bounds_only(found),
            "tar_at_far": {rate: both[0] for rate, both in tar.items()},
            "effective_pairs": {
                name: one and one.effective_pairs for name, one in found.items()
            },
            "bootstrap": bootstrap,
        },
        "curve": described(curve, each),
    }


def _decision_bounds(
    pairs: ScoredPairs,
    fold: np.ndarray,
    found: dict[str, RateInterval | None],
    replicates: Replicates,
) -> dict[str, Any]:
    """Bootstrap intervals of accuracy, FMR and FNMR; None of a rate of 0 or 1."""
    folds = int(fold.max()) + 1
    cells = (fold * 2 + pairs.same) * 2 + pairs.accepted
    counts = replicates.counts(cells, 4 * folds).reshape(folds, 4, -1)
    # Cells of a fold: rejected and accepted impostors, rejected and accepted genuines.
    figures = {
        "accuracy": lambda n: _mean_known((n[:, 0] + n[:, 3]) / n.sum(1)),
        "false_match_rate": lambda n: n[:, 1].sum(0) / n[:, :2].sum((0, 1)),
        "false_non_match_rate": lambda n: n[:, 2].sum(0) / n[:, 2:].sum((0, 1)),
    }
    return {
        name: bounds_by(figure, counts)
        if found[name] is not None and 0 < found[name].rate < 1
        else None
        for name, figure in figures.items()
    }


def _mean_known(rates: np.ndarray) -> np.ndarray:
    """The mean over folds that a replicate has pairs of; NaN of none."""
    known = ~np.isnan(rates)
    return np.where(known, rates, 0).sum(0) / known.sum(0)


def _true_accepts(
    pairs: ScoredPairs, replicates: CurveReplicates, rate: float
) -> tuple[list[float] | None, list[float] | None]:
    """Wilson's and the bootstrap's interval of the true accept rate at a FAR.

    The former is of the genuine pairs at the threshold found, the latter looks for the
    threshold in each replicate anew. None where too few impostor pairs tell.
    """
    impostors = np.sort(pairs.cosines[~pairs.same])[::-1]
    allowed = allowed_impostors(rate, len(impostors))
    if allowed == 0 < rate or allowed >= len(impostors):
        return None, None
    accepted = pairs.cosines[pairs.same] > impostors[allowed]
    found = rate_interval(accepted, pairs.people[pairs.same])
    if found is None or not 0 < found.rate < 1:
        return found and list(found.bounds), None
    return list(found.bounds), bounds_of(1 - replicates.fnmr_at(rate))
