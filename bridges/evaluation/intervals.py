"""95 % intervals of error rates over pairs that share people.

Pairs with a person in common are not independent, so n pairs tell less than n tosses of
a coin. Fogliato, Patil and Perona (Confidence intervals for error rates in 1:1 matching
tasks, IJCV 2024, arXiv:2306.01198) recommend Wilson's interval with as many tosses as
tell as much, N* = p (1 - p) / Var(p), and never fewer than pairs without common people
can be picked: half as many as there are people, for pairs of two people.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95
# The normal distribution's quantile at 97.5 %.
_Z = 1.959963984540054

Bounds = tuple[float, float]


class RateInterval(NamedTuple):
    """A rate and how well it is known.

    Attributes:
      rate: share of the pairs, weighted.
      bounds: the lower and upper end of the 95 % interval.
      effective_pairs: N*: independent pairs that would tell as much.
    """

    rate: float
    bounds: Bounds
    effective_pairs: float


def wilson(rate: float, trials: float) -> Bounds:
    """Wilson's score interval of a share (JASA 1927), at 95 %.

    Args:
      rate: the share, 0 to 1.
      trials: independent trials, above 0; need not be whole.
    """
    square = _Z**2 / trials
    centre = (rate + square / 2) / (1 + square)
    half = _Z * np.sqrt(rate * (1 - rate) / trials + square / (4 * trials))
    half = half / (1 + square)
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def rate_interval(
    hits: np.ndarray, people: np.ndarray, weights: np.ndarray | None = None
) -> RateInterval | None:
    """The share of hits and its interval.

    Args:
      hits: ``[p]`` bool.
      people: ``[p, 2]`` integers, the people of each pair; twice the same for a
        genuine pair.
      weights: ``[p]`` of the pairs in the share, above 0; by default all equal.

    Returns:
      The interval; None without pairs.
    """
    if not len(hits):
        return None
    hits = np.asarray(hits, bool)
    weights = np.ones(len(hits)) if weights is None else np.asarray(weights, float)
    # Both sums in one order, so that all or none make exactly 1 or 0.
    rate = float(np.where(hits, weights, 0).sum() / weights.sum())
    weights = weights / weights.sum()
    variance = shared_variance(weights * (hits - rate), people)
    trials = float(len(hits))
    spread = rate * (1 - rate)
    # By chance the pairs can look better than independent; that isn't claimed.
    effective = min(trials, spread / variance) if variance > 0 and spread else 0.0
    if spread and variance <= 0:
        effective = trials
    effective = max(effective, min(trials, independent_pairs(people)))
    return RateInterval(rate, wilson(rate, effective), effective)


def decision_intervals(
    accepted: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    weights: np.ndarray | None = None,
) -> dict[str, RateInterval | None]:
    """The intervals of accuracy, false match rate and false non-match rate.

    Args:
      accepted: ``[p]`` bool, whether the pair was taken for one person.
      same: ``[p]`` bool, whether it shows one.
      people: ``[p, 2]`` integers, as :func:`rate_interval`.
      weights: ``[p]`` of the pairs in the accuracy, likewise.

    Returns:
      ``accuracy``, ``false_match_rate`` and ``false_non_match_rate``; None without a
      pair of the kind.
    """
    return {
        "accuracy": rate_interval(accepted == same, people, weights),
        "false_match_rate": rate_interval(accepted[~same], people[~same]),
        "false_non_match_rate": rate_interval(~accepted[same], people[same]),
    }


def bounds_only(
    intervals: Mapping[str, RateInterval | None],
) -> dict[str, list[float] | None]:
    """The ends of intervals, for JSON."""
    return {name: found and list(found.bounds) for name, found in intervals.items()}


def shared_variance(residuals: np.ndarray, people: np.ndarray) -> float:
    """Variance of a sum over pairs, of which those that share a person depend.

    The sum of products of residuals over all pairs of pairs with a common person:
    those of each person, less what pairs of the same two people are counted twice
    (Aronow, Samii and Assenova, Political Analysis 2015, equation 6). Small samples can
    give a value below 0.

    Args:
      residuals: ``[p]`` weighted deviations from the mean.
      people: ``[p, 2]`` integers.
    """
    first, second = np.sort(people, axis=1).T
    names, node = np.unique(people, return_inverse=True)
    node = node.reshape(-1, 2)
    apart = first != second
    sums = np.bincount(node[:, 0], residuals, len(names))
    sums += np.bincount(node[apart, 1], residuals[apart], len(names))
    couples = first[apart] * (int(second.max()) + 1) + second[apart]
    _, couple = np.unique(couples, return_inverse=True)
    twice = np.bincount(couple, residuals[apart]) if len(couple) else np.zeros(1)
    return float(sums @ sums - twice @ twice)


def independent_pairs(people: np.ndarray) -> float:
    """A lower bound of N*: pairs that share nobody.

    Half as many as people; as many as people where each pair is of one person.

    Args:
      people: ``[p, 2]`` integers.
    """
    count = len(np.unique(people))
    alone = bool((people[:, 0] == people[:, 1]).all())
    return float(count) if alone else count / 2


def mean_bounds(rates: list[float], bounds: list[Bounds]) -> Bounds:
    """The interval of the mean of independent rates, from the interval of each.

    Squares of the distances to the lower ends add up, and so of the upper ones (Zou and
    Donner, Statistics in Medicine 2008: the method of variance estimates recovery).

    Args:
      rates: the rates.
      bounds: the interval of each.
    """
    rate, ends = np.array(rates), np.array(bounds)
    below, above = np.sqrt(np.square(ends - rate[:, None]).sum(0)) / len(rate)
    return float(rate.mean() - below), float(rate.mean() + above)
