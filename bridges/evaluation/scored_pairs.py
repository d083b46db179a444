"""Pairs with their scores and decisions, as intervals and fairness need them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class ScoredPairs(NamedTuple):
    """Pairs that a recogniser has been measured on.

    Attributes:
      cosines: ``[p]`` float64.
      accepted: ``[p]`` bool, the decisions on held-out folds.
      same: ``[p]`` bool.
      people: ``[p, 2]`` integers, the people of each pair.
      group: ``[p]`` labels, or None.
    """

    cosines: np.ndarray
    accepted: np.ndarray
    same: np.ndarray
    people: np.ndarray
    group: np.ndarray | None = None

    def at(self, threshold: float) -> "ScoredPairs":
        """The pairs decided by one threshold: accepted above it."""
        return self._replace(accepted=self.cosines > threshold)

    def of(self, rows: np.ndarray) -> "ScoredPairs":
        """Some of the pairs.

        Args:
          rows: ``[p]`` bool, or positions.
        """
        group = None if self.group is None else self.group[rows]
        parts = (self.cosines, self.accepted, self.same, self.people)
        return ScoredPairs(*(part[rows] for part in parts), group)


def joined(sets: Sequence[ScoredPairs]) -> ScoredPairs:
    """Several sets as one, whose people are taken for different people.

    Args:
      sets: at least one; of each or of none a group is known.
    """
    people, before = [], 0
    for each in sets:
        people.append(each.people + before)
        before += int(each.people.max()) + 1
    columns = zip(*(each[:3] for each in sets), strict=True)
    group = None
    if sets[0].group is not None:
        group = np.concatenate([each.group for each in sets])
    parts = [np.concatenate(column) for column in columns]
    return ScoredPairs(*parts, np.concatenate(people), group)
