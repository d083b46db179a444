"""Fairness to demographic groups at one threshold for everyone.

Each measure compares the groups' false match rates x and false non-match rates y, with
the weight α on the former, or their accuracies:

* FDR, fairness discrepancy rate (Pereira and Marcel, T-BIOM 2022):
  1 - (α (max x - min x) + (1 - α) (max y - min y)); 1 is fair.
* Inequity rate (NIST, Grother 2021): (max x / min x)^α (max y / min y)^(1 - α); 1 is
  fair; undefined where a group has no errors.
* GARBE (Howard et al., ICPR 2022, arXiv:2203.05051): α G(x) + (1 - α) G(y), of the Gini
  coefficient corrected for n groups, G(x) = n / (n - 1) Σ_ij |x_i - x_j| / (2 n² mean
  x); 0 is fair; undefined where no group has errors.
* Skewed error ratio (Wang and Deng, CVPR 2020): the largest by the smallest error of
  the accuracy; 1 is fair; undefined where a group has none.
* The largest rate by the geometric mean (NIST, Grother, NISTIR 8429, 2022), of x and of
  y; 1 is fair; undefined where a group has no errors.
"""

from typing import Any

import numpy as np

from bridges.evaluation.bootstrap import Replicates, centred_bounds
from bridges.evaluation.error_rates import allowed_impostors
from bridges.evaluation.group_rates import rates_by_group
from bridges.evaluation.scored_pairs import ScoredPairs
from hyperface_jax import InputError, checks

ALPHA = 0.5
BEST = "best_accuracy"
# Of the measures that are no ratios, which are 1 or more.
_RANGES = {"fdr": (0, 1), "garbe": (0, 1), "accuracy_std": (0, 0.5)}


def fairness_measures(
    fmr: np.ndarray, fnmr: np.ndarray, accuracy: np.ndarray, alpha: float = ALPHA
) -> dict[str, np.ndarray]:
    """All measures, of one set of rates or of many.

    Args:
      fmr: ``[groups, …]`` false match rates, at least two groups.
      fnmr: ``[groups, …]`` false non-match rates.
      accuracy: ``[groups, …]``.
      alpha: weight of the false match rate, 0 to 1.

    Returns:
      By name, of the trailing shape: ``fdr``, ``inequity_rate``, ``garbe``,
      ``skewed_error_ratio``, ``fmr_max_over_mean``, ``fnmr_max_over_mean`` and
      ``accuracy_std`` (ddof = 0); NaN where undefined.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = 1 - accuracy
        ratio = _over_least(fmr) ** alpha * _over_least(fnmr) ** (1 - alpha)
        return {
            "fdr": 1 - (alpha * np.ptp(fmr, 0) + (1 - alpha) * np.ptp(fnmr, 0)),
            "inequity_rate": ratio,
            "garbe": alpha * _gini(fmr) + (1 - alpha) * _gini(fnmr),
            "skewed_error_ratio": _over_least(errors),
            "fmr_max_over_mean": _over_mean(fmr),
            "fnmr_max_over_mean": _over_mean(fnmr),
            "accuracy_std": accuracy.std(0),
        }


def fairness(
    pairs: ScoredPairs,
    rates: tuple[str, ...],
    thresholds: np.ndarray,
    *,
    alpha: float = ALPHA,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Errors by group and the measures, at thresholds that are the same for all.

    Args:
      pairs: with groups.
      rates: false accept rates of all impostor pairs to take thresholds at.
      thresholds: ``[t]`` cosines, falling; the first of those with the most pairs
        right is the threshold ``best_accuracy``.
      alpha: see :func:`fairness_measures`.
      seed: of the bootstrap.

    Returns:
      JSON-ready: ``alpha``, ``compared`` (the groups with pairs of both kinds, which
      alone the measures compare) and ``at``, by ``best_accuracy`` or the rate:
      ``threshold``, ``groups`` and ``measures``, each with ``value`` and ``interval``,
      None where undefined. Rates that too few impostor pairs tell are left out. None
      with fewer than two groups to compare.

    Raises:
      InputError: ``alpha`` is out of range, or pairs without groups.
    """
    checks.in_range(alpha, "alpha", 0, 1)
    if pairs.group is None:
        raise InputError("pairs have no group; fairness compares groups")
    names = [
        name
        for name in np.unique(pairs.group)
        if _both(pairs.same, pairs.group == name)
    ]
    if len(names) < 2:
        return None
    compared = pairs.of(np.isin(pairs.group, names))
    replicates = Replicates(compared.people, seed=seed)
    at = {}
    for key, threshold in _thresholds(pairs, rates, thresholds).items():
        decided = compared.at(threshold)
        at[key] = {
            "threshold": threshold,
            "groups": rates_by_group(
                decided.accepted, decided.same, decided.group, decided.people
            ),
            "measures": _measures(decided, replicates, alpha),
        }
    return {"alpha": alpha, "compared": [str(name) for name in names], "at": at}


def _thresholds(
    pairs: ScoredPairs, rates: tuple[str, ...], thresholds: np.ndarray
) -> dict[str, float]:
    genuine, impostors = (
        np.sort(pairs.cosines[pairs.same == kind]) for kind in (True, False)
    )
    right = np.searchsorted(impostors, thresholds, side="right")
    right = right - np.searchsorted(genuine, thresholds, side="right")
    found = {BEST: float(thresholds[right.argmax()])}
    for rate in rates:
        allowed = allowed_impostors(float(rate), len(impostors))
        if allowed:
            found[rate] = float(impostors[len(impostors) - 1 - allowed])
    return found


def _measures(
    pairs: ScoredPairs, replicates: Replicates, alpha: float
) -> dict[str, dict[str, Any]]:
    """Values and bootstrap intervals."""
    names, group = np.unique(pairs.group, return_inverse=True)
    cells = (group * 2 + pairs.same) * 2 + pairs.accepted
    size = 4 * len(names)
    values = fairness_measures(*_rates(np.bincount(cells, minlength=size)), alpha)
    drawn = fairness_measures(*_rates(replicates.counts(cells, size)), alpha)
    result = {}
    for name, value in values.items():
        known = float(value) if np.isfinite(value) else None
        found = None if known is None else centred_bounds(known, drawn[name])
        ends = found and np.clip(found, *_RANGES.get(name, (1, np.inf))).tolist()
        result[name] = {"value": known, "interval": ends}
    return result


def _rates(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FMR, FNMR and accuracy of groups from counts of the four outcomes of each."""
    counts = counts.reshape(-1, 4, *counts.shape[1:]).swapaxes(0, 1)
    reject, match, miss, accept = counts
    with np.errstate(divide="ignore", invalid="ignore"):
        return (
            match / (reject + match),
            miss / (miss + accept),
            (reject + accept) / counts.sum(0),
        )


def _both(same: np.ndarray, rows: np.ndarray) -> bool:
    return bool(same[rows].any() and not same[rows].all())


def _over_least(rates: np.ndarray) -> np.ndarray:
    least = rates.min(0)
    return np.where(least > 0, rates.max(0) / least, np.nan)


def _over_mean(rates: np.ndarray) -> np.ndarray:
    mean = np.exp(np.log(rates).mean(0))
    return np.where(rates.min(0) > 0, rates.max(0) / mean, np.nan)


def _gini(rates: np.ndarray) -> np.ndarray:
    n = len(rates)
    apart = np.abs(rates[:, None] - rates[None, :]).sum((0, 1))
    return n / (n - 1) * apart / (2 * n**2 * rates.mean(0))
