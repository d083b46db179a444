"""The double-or-nothing bootstrap over people, of any figure made of counts of pairs.

In a replicate each person weighs 0 or 2 by a fair coin, and a pair the product of its
people's weights (Fogliato, Patil and Perona, IJCV 2024, section 4; Owen and Eckles,
Annals of Applied Statistics 2012). Pairs are first counted in cells, such as "of group
a, genuine, rejected"; whatever is computed of counts is then computed of each
replicate's. Where a person is in few pairs of two people, as in LFW's protocol, the
intervals are too wide, up to the root of 3 times; they are never meant for rates of 0
or 1, where they have no width.
"""

from collections.abc import Callable

import numpy as np

from bridges.evaluation.intervals import CONFIDENCE

REPLICATES = 1000
# Pairs times replicates at a time, in bytes.
_BLOCK = 1 << 23
# Of replicates without the figure, so many are left out; with more there is none.
_MOST_UNDEFINED = 0.05


class Replicates:
    """Weights of people, drawn once for all figures of the same pairs.

    Attributes:
      number: of replicates.
    """

    def __init__(
        self, people: np.ndarray, number: int = REPLICATES, *, seed: int = 0
    ) -> None:
        """Draws the weights.

        Args:
          people: ``[p, 2]`` integers, the people of each pair.
          number: of replicates.
          seed: of the draws; the same one gives the same intervals.
        """
        names, node = np.unique(people, return_inverse=True)
        self._node = node.reshape(-1, 2)
        self.number = number
        # 1 for a person that weighs 2: a common factor is in no ratio of counts.
        self._kept = np.random.default_rng(seed).integers(
            0, 2, (len(names), number), dtype=np.uint8
        )

    def counts(self, cells: np.ndarray, num_cells: int) -> np.ndarray:
        """How many pairs of each cell every replicate holds.

        Args:
          cells: ``[p]`` integers ``0 … num_cells - 1``.
          num_cells: number of cells.

        Returns:
          ``[num_cells, number]`` int64.
        """
        order = np.argsort(cells, kind="stable")
        totals = np.zeros((num_cells, self.number), np.int64)
        step = max(1, _BLOCK // self.number)
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            one, other = self._node[rows].T
            kept = self._kept[one] & self._kept[other]
            here, starts = np.unique(cells[rows], return_index=True)
            totals[here] += np.add.reduceat(kept, starts, axis=0, dtype=np.int32)
        return totals


def bounds_of(values: np.ndarray) -> list[float] | None:
    """The 95 % interval of a figure from its values in the replicates.

    Args:
      values: ``[number]``, NaN where a replicate leaves the figure undefined.

    Returns:
      The quantiles at 2.5 and 97.5 %; None where more than 5 % are undefined, or all
      are equal: of pairs without an error the bootstrap can tell nothing.
    """
    known = values[np.isfinite(values)]
    if len(known) < (1 - _MOST_UNDEFINED) * len(values) or not np.ptp(known):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return [float(low), float(high)]


def centred_bounds(value: float, values: np.ndarray) -> list[float] | None:
    """:func:`bounds_of`, moved so that the replicates' median is the figure itself.

    For figures such as a range, which noise alone makes larger: the replicates have
    more of it than the pairs, so that their quantiles could leave the figure out.

    Args:
      value: the figure.
      values: ``[number]``, of the replicates.
    """
    found = bounds_of(values)
    if found is None:
        return None
    shift = value - float(np.nanmedian(values))
    return [found[0] + shift, found[1] + shift]


def bounds_by(
    figure: Callable[[np.ndarray], np.ndarray],
    counts: np.ndarray,
) -> list[float] | None:
    """:func:`bounds_of` a figure of counts, undefined ones being 0 / 0.

    Args:
      figure: takes ``[num_cells, number]`` float64, returns ``[number]``.
      counts: as :meth:`Replicates.counts` returns them.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return bounds_of(figure(counts.astype(np.float64)))
