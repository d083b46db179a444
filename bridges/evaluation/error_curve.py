"""The curve of both error rates over the threshold, and how sure it is.

ROC and DET curves are its two drawings. A point is a number of impostors accepted, so
that none claims a rate that the pairs can't resolve.
"""

from typing import Any, NamedTuple

import numpy as np

from bridges.evaluation.bootstrap import Replicates, bounds_of
from bridges.evaluation.error_rates import allowed_impostors

# Points evenly over the ranks of impostors, and over their logarithms.
_EVEN, _LOGARITHMIC = 33, 49


class ErrorCurve(NamedTuple):
    """Error rates at falling thresholds.

    Attributes:
      threshold: ``[t]`` cosines, falling; accepted is what is above.
      fmr: ``[t]`` false match rates, rising.
      fnmr: ``[t]`` false non-match rates, falling.
    """

    threshold: np.ndarray
    fmr: np.ndarray
    fnmr: np.ndarray


def error_curve(
    scores: np.ndarray, same: np.ndarray, rates: tuple[str, ...] = ()
) -> ErrorCurve:
    """The curve at some 80 numbers of accepted impostors, from none on.

    Args:
      scores: ``[p]`` floats, larger for more alike.
      same: ``[p]`` bool, both kinds at least once.
      rates: false accept rates that are to be among the points.
    """
    genuine, impostors = np.sort(scores[same]), np.sort(scores[~same])
    count = len(impostors)
    ranks = np.concatenate(
        [
            [0],
            np.linspace(0, count - 1, _EVEN),
            np.geomspace(1, max(1, count - 1), _LOGARITHMIC),
            [allowed_impostors(float(rate), count) for rate in rates],
        ]
    ).astype(int)
    # Equal scores make one threshold of several ranks.
    threshold = np.unique(impostors[count - 1 - np.minimum(ranks, count - 1)])[::-1]
    accepted = count - np.searchsorted(impostors, threshold, side="right")
    rejected = np.searchsorted(genuine, threshold, side="right")
    return ErrorCurve(threshold, accepted / count, rejected / len(genuine))


class CurveReplicates(NamedTuple):
    """The curve of each replicate, at the thresholds of the curve.

    Attributes:
      fmr: ``[t, number]``.
      fnmr: ``[t, number]``; NaN of a replicate without pairs of the kind.
    """

    fmr: np.ndarray
    fnmr: np.ndarray

    def fnmr_at(self, rate: float) -> np.ndarray:
        """``[number]`` FNMR at the lowest threshold that keeps the FMR."""
        kept = self.fmr <= rate * (1 + 1e-9)
        # The thresholds fall, so the last one that keeps it is meant.
        last = kept.shape[0] - 1 - kept[::-1].argmax(0)
        found = self.fnmr[last, np.arange(kept.shape[1])]
        return np.where(kept.any(0), found, np.nan)

    def equal_error_rate(self) -> np.ndarray:
        """``[number]`` rates where the two are equal, on the line between points."""
        # Below the first threshold on the left nothing is accepted: FMR 0, FNMR 1.
        fmr = np.vstack([np.zeros(self.fmr.shape[1]), self.fmr])
        fnmr = np.vstack([np.ones(self.fnmr.shape[1]), self.fnmr])
        gap = fmr - fnmr
        crossed = gap >= 0
        after = np.where(crossed.any(0), crossed.argmax(0), len(gap) - 1)
        column = np.arange(gap.shape[1])
        low, high = gap[after - 1, column], gap[after, column]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.clip(-low / (high - low), 0, 1)
        before = fnmr[after - 1, column]
        found = before + share * (fnmr[after, column] - before)
        return np.where(np.isnan(gap).any(0), np.nan, found)


def curve_replicates(
    curve: ErrorCurve, scores: np.ndarray, same: np.ndarray, replicates: Replicates
) -> CurveReplicates:
    """The error rates of every replicate.

    Args:
      curve: whose thresholds are taken.
      scores: ``[p]``, as :func:`error_curve`.
      same: ``[p]`` bool.
      replicates: of the same pairs.
    """
    size = len(curve.threshold) + 1
    # How many thresholds, from the lowest on, a pair is above.
    above = np.searchsorted(curve.threshold[::-1], scores, side="left")
    counts = replicates.counts(same.astype(int) * size + above, 2 * size)
    counts = counts.reshape(2, size, -1)
    accepted = counts[:, ::-1].cumsum(1)[:, :-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = accepted / counts.sum(1, keepdims=True)
    return CurveReplicates(rates[0], 1 - rates[1])


def described(curve: ErrorCurve, replicates: CurveReplicates) -> dict[str, Any]:
    """The curve as lists for JSON, with 95 % bounds of the FNMR at each FMR."""
    bounds = [
        bounds_of(replicates.fnmr_at(float(rate))) or (None, None) for rate in curve.fmr
    ]
    return {
        **{name: values.tolist() for name, values in curve._asdict().items()},
        "fnmr_low": [low for low, _ in bounds],
        "fnmr_high": [high for _, high in bounds],
    }
