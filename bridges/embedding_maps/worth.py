"""What a map is worth: whether people are known again, on people it has not seen."""

from typing import NamedTuple

import numpy as np

from bridges.embedding_maps.linear_map import LinearMap
from bridges.evaluation.error_rates import equal_error_rate

# A larger matrix of cosines says no more of an error rate.
_MOST_PAIRS = 4_000_000


class Worth(NamedTuple):
    """Measures of a map on people that it was not fitted on.

    Attributes:
      people: how many.
      images: how many.
      rank1: share of images whose true embedding is nearest to the mapped centre of
        its own person; centres are of other images where people have two or more.
      chance: the same of a map that knows nothing.
      eer: equal error rate of the cosines of mapped with true embeddings.
      cosine: of mapped and true embedding of the same image, mean.
      centred_cosine: the same after the mean of the true embeddings was taken from
        both: many recognisers put all faces about one direction, which flatters.
    """

    people: int
    images: int
    rank1: float
    chance: float
    eer: float
    cosine: float
    centred_cosine: float


def measure_worth(
    mapping: LinearMap, source: np.ndarray, target: np.ndarray, people: np.ndarray
) -> Worth:
    """Measures a map.

    Args:
      mapping: fitted on other people.
      source: ``[n, d]`` unit rows.
      target: ``[n, e]`` unit rows of the same images.
      people: ``[n]``: who is on each; at least two people.
    """
    mapped = mapping(source).astype(np.float64)
    target = np.asarray(target, np.float64)
    _, people = np.unique(people, return_inverse=True)
    count = people.max() + 1
    enrolled, probes = _halves(people)
    centres = np.zeros((count, mapped.shape[1]))
    np.add.at(centres, people[enrolled], mapped[enrolled])
    centres = _unit(centres)
    nearest = (target[probes] @ centres.T).argmax(1)
    mean = target.mean(0)
    centred = (_unit(mapped - mean) * _unit(target - mean)).sum(1)
    some = _some(len(people))
    cosines = mapped[some] @ target[some].T
    same = people[some][:, None] == people[some][None, :]
    apart = ~np.eye(len(some), dtype=bool)
    if not (same & apart).any():
        apart[:] = True  # One image a person: mapped with true of the same image.
    return Worth(
        people=int(count),
        images=len(people),
        rank1=float((nearest == people[probes]).mean()),
        chance=1 / int(count),
        eer=equal_error_rate(cosines[apart], same[apart]),
        cosine=float((mapped * target).sum(1).mean()),
        centred_cosine=float(centred.mean()),
    )


def _halves(people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that make the centres, and rows that are looked for.

    Of each person the first half and the others; a single image is both.
    """
    order = np.argsort(people, kind="stable")
    sizes = np.bincount(people)
    place = np.arange(len(people)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    half = np.repeat(np.maximum(1, sizes // 2), sizes)
    alone = np.repeat(sizes == 1, sizes)
    return order[place < half], order[(place >= half) | alone]


def _some(count: int) -> np.ndarray:
    """Rows to compare with one another, evenly spaced."""
    most = int(_MOST_PAIRS**0.5)
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
