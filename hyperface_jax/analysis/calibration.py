"""The threshold of a false match rate, from labelled embeddings of one's own.

Thresholds do not travel: how near strangers lie depends on the recogniser and on the
people. The cosine beyond which a given share of impostor pairs lies is a quantile of
all of them, up to n² / 2; it is found exactly, in the memory of some tiles.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from hyperface_jax import checks
from hyperface_jax.errors import InputError

_TILE = 1024
# The 32 bits of a cosine are found in two halves.
_HALF = 16
_HALVES = 1 << _HALF


class Calibration(NamedTuple):
    """A threshold and what it was found on.

    Attributes:
      threshold: a pair is accepted whose cosine exceeds it.
      false_match_rate: the share of impostor pairs that do, at most what was asked for.
      true_match_rate: the share of genuine pairs that do; None without any.
      num_impostor_pairs: pairs of two people.
      num_genuine_pairs: pairs of one person.
      num_people: how many there are.
    """

    threshold: float
    false_match_rate: float
    true_match_rate: float | None
    num_impostor_pairs: int
    num_genuine_pairs: int
    num_people: int


def calibrate_threshold(
    embeddings: Any, labels: Any, false_match_rate: float
) -> Calibration:
    """Finds the smallest threshold that keeps a false match rate on all pairs.

    Args:
      embeddings: ``[n, d]``, unit rows, of the people and the recogniser it is for.
      labels: ``[n]`` whole numbers or names, who each row is of.
      false_match_rate: the share of impostor pairs that may be accepted, in (0, 1).

    Raises:
      InputError: malformed rows or labels, a single person, or fewer impostor pairs
        than ``1 / false_match_rate``, which can't tell.
    """
    rows = checks.unit_rows(embeddings, "embeddings")
    codes = checks.labels(labels, len(rows))
    checks.in_range(
        false_match_rate, "false_match_rate", 0, 1, open_low=True, open_high=True
    )
    _, people, counts = np.unique(codes, return_inverse=True, return_counts=True)
    genuine = int(np.sum(counts * (counts - 1) // 2))
    impostors = len(rows) * (len(rows) - 1) // 2 - genuine
    if len(counts) < 2:
        raise InputError("labels hold one person; impostor pairs need at least two")
    # The margin keeps 0.01 * 300 from being 2.9999999.
    allowed = min(int(false_match_rate * impostors + 1e-9), impostors - 1)
    if allowed < 1:
        raise InputError(
            f"false_match_rate is {false_match_rate:g}, which {impostors:,} impostor "
            f"pairs of {len(counts):,} people can't tell; give more people, or a rate "
            f"of at least {_rounded_up(1 / impostors):g}"
        )
    threshold = _impostor_cosine(rows, people, allowed)
    accepted = [0, 0]
    for cosines, same in _tiles(rows, people):
        over = cosines > threshold
        accepted[0] += int(np.count_nonzero(over & ~same))
        accepted[1] += int(np.count_nonzero(over & same))
    return Calibration(
        threshold=float(threshold),
        false_match_rate=accepted[0] / impostors,
        true_match_rate=accepted[1] / genuine if genuine else None,
        num_impostor_pairs=impostors,
        num_genuine_pairs=genuine,
        num_people=len(counts),
    )


def _impostor_cosine(rows: np.ndarray, people: np.ndarray, rank: int) -> np.float32:
    """The impostor cosine with this rank, from 0 for the largest."""
    upper = np.zeros(_HALVES, np.int64)
    for cosines, same in _tiles(rows, people):
        upper += np.bincount(_ordered(cosines[~same]) >> _HALF, minlength=_HALVES)
    first, rank = _place(upper, rank)
    lower = np.zeros(_HALVES, np.int64)
    for cosines, same in _tiles(rows, people):
        keys = _ordered(cosines[~same])
        keys = keys[keys >> _HALF == first] & (_HALVES - 1)
        lower += np.bincount(keys, minlength=_HALVES)
    second, _ = _place(lower, rank)
    key = np.uint32(first << _HALF | second)
    sign = np.uint32(1 << 31)
    return (key ^ sign if key & sign else ~key).view(np.float32)


def _ordered(cosines: np.ndarray) -> np.ndarray:
    """float32 as uint32 in the same order."""
    bits = cosines.view(np.uint32)
    # Of negative numbers all bits are turned, of others the sign.
    turned = -(bits >> 31).astype(np.uint32) | np.uint32(1 << 31)
    return bits ^ turned


def _place(counts: np.ndarray, rank: int) -> tuple[int, int]:
    """Where the number with this rank is counted, and its rank there."""
    beyond = np.cumsum(counts[::-1])
    found = min(int(np.searchsorted(beyond, rank, side="right")), len(counts) - 1)
    before = int(beyond[found - 1]) if found else 0
    return len(counts) - 1 - found, rank - before


def _tiles(
    rows: np.ndarray, people: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cosines of all pairs, each once, and whether each is of one person: ``[p]``."""
    for first in range(0, len(rows), _TILE):
        some = slice(first, first + _TILE)
        for second in range(first, len(rows), _TILE):
            other = slice(second, second + _TILE)
            cosines = rows[some] @ rows[other].T
            same = people[some, None] == people[other]
            if first == second:
                once = np.triu_indices(len(cosines), 1)
                yield cosines[once], same[once]
            else:
                yield cosines.ravel(), same.ravel()


def _rounded_up(rate: float) -> float:
    """With one digit, so that it reads well."""
    digit = 10.0 ** math.floor(math.log10(rate))
    return math.ceil(rate / digit - 1e-9) * digit
