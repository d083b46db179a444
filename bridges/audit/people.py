"""A labelled set from inside: people who are one, images of others, how apart it is."""

from typing import NamedTuple

import numpy as np

from bridges.neighbours import tiles

# Bins of cosines; errors of rates read off them are those of half a bin.
_BINS = 1 << 14
# So many images, spread over people, tell an interval.
_SAMPLED = 1000
_DRAWS = 200
# "As alike as images of one person usually are": all but this share of them.
_UNUSUAL = 0.05


class People(NamedTuple):
    """Rows of images by person.

    Attributes:
      rows: ``[n, d]`` float64, unit rows.
      who: ``[n]`` in ``0 … k-1``.
      counts: ``[k]`` images of each.
      sums: ``[k, d]`` of each person's rows.
    """

    rows: np.ndarray
    who: np.ndarray
    counts: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, labels: np.ndarray) -> "People":
        """People of labelled rows."""
        rows = np.asarray(rows, np.float64)
        _, who, counts = np.unique(labels, return_inverse=True, return_counts=True)
        sums = np.zeros((len(counts), rows.shape[1]))
        np.add.at(sums, who, rows)
        return cls(rows, who, counts, sums)

    @property
    def means(self) -> np.ndarray:
        """``[k, d]``: products of two are mean cosines between images."""
        return self.sums / self.counts[:, None]

    @property
    def centres(self) -> np.ndarray:
        """``[k, d]`` unit rows."""
        norms = np.linalg.norm(self.sums, axis=1, keepdims=True)
        return self.sums / np.maximum(norms, 1e-12)

    def own_cosines(self) -> np.ndarray:
        """The mean cosine of each image with its person's others; NaN where alone."""
        others = np.where(self.counts > 1, self.counts - 1, np.nan)[self.who]
        own = (self.rows * self.sums[self.who]).sum(1) - (self.rows**2).sum(1)
        return own / others

    def nearest_own(self) -> np.ndarray:
        """The cosine of each image with its person's nearest other; NaN where alone."""
        order = np.argsort(self.who, kind="stable")
        nearest = np.full(len(self.who), np.nan)
        for some in np.split(order, np.cumsum(self.counts)[:-1]):
            if len(some) > 1:
                cosines = self.rows[some] @ self.rows[some].T
                np.fill_diagonal(cosines, -np.inf)
                nearest[some] = cosines.max(1)
        return nearest

    def own_centre(self) -> np.ndarray:
        """The cosine of each image with the centre of its person's others; or NaN."""
        others = self.sums[self.who] - self.rows
        norms = np.linalg.norm(others, axis=1)
        alone = self.counts[self.who] < 2
        cosines = (self.rows * others).sum(1) / np.maximum(norms, 1e-12)
        return np.where(alone, np.nan, cosines)


def usual(cosines: np.ndarray) -> float:
    """What all but one of 20 reach; NaN of none."""
    known = cosines[~np.isnan(cosines)]
    return float(np.quantile(known, _UNUSUAL)) if len(known) else float("nan")


def usual_cosine(people: People) -> float:
    """A mean cosine with one's own images that all but one image in 20 reach.

    NaN where no person has two images.
    """
    return usual(people.own_cosines())


def same_people(people: People) -> list[tuple[int, int, float]]:
    """Pairs of people who are as alike as images of one person usually are.

    Returns:
      Positions of the two, and the mean cosine of the one's images with the other's,
      the most alike first.
    """
    limit = usual_cosine(people)
    means, found = people.means, []
    for here, there, cosines in tiles(
        means, means, description="comparing people", upper=True
    ):
        first, second = np.nonzero(cosines >= limit)
        first, second = first + here.start, second + there.start
        apart = first < second
        found += [
            (int(i), int(j), float(means[i] @ means[j]))
            for i, j in zip(first[apart], second[apart], strict=True)
        ]
    return sorted(found, key=lambda pair: -pair[2])


def mislabelled(people: People) -> list[tuple[int, int, float, float]]:
    """Images that are another person's by far more than their own.

    An image is listed where its mean cosine with another person's images is that of an
    image of that person, and larger than with the other images of its own.

    Returns:
      The image, the other person, the mean cosines with their images and with the
      person's own (NaN for a single image), the clearest first.
    """
    limit, own = usual_cosine(people), people.own_cosines()
    means, found = people.means, []
    best = np.full(len(own), -np.inf)
    other = np.full(len(own), -1)
    for here, there, cosines in tiles(
        people.rows, means, description="comparing with people"
    ):
        inside = (people.who[here] >= there.start) & (people.who[here] < there.stop)
        rows = np.flatnonzero(inside)
        cosines[rows, people.who[here][rows] - there.start] = -np.inf
        column = cosines.argmax(1)
        cosine = cosines[np.arange(len(column)), column]
        better = cosine > best[here]
        best[here][better] = cosine[better]
        other[here][better] = there.start + column[better]
    for row in np.flatnonzero((best >= limit) & (best > own)):
        found.append((int(row), int(other[row]), float(best[row]), float(own[row])))
    return sorted(found, key=lambda each: each[3] - each[2])


class Separability(NamedTuple):
    """How well genuine and impostor pairs can be told apart.

    Attributes:
      eer: equal error rate over all pairs of images.
      eer_interval: 95 %, over draws of people; None with fewer than ten people.
      d_prime: difference of the mean cosines by the root mean square of the deviations.
      genuine: mean and standard deviation of cosines of one person's images.
      impostor: the same of two people's.
      num_genuine: pairs.
      num_impostor: pairs.
    """

    eer: float
    eer_interval: tuple[float, float] | None
    d_prime: float
    genuine: tuple[float, float]
    impostor: tuple[float, float]
    num_genuine: int
    num_impostor: int


def separability(people: People) -> Separability | None:
    """Measures all pairs; None without a genuine or an impostor pair."""
    rows, who = people.rows.astype(np.float32), people.who
    counts = np.zeros((2, _BINS + 1), np.int64)
    for here, there, cosines in tiles(rows, rows, description="all pairs", upper=True):
        bins = ((np.clip(cosines, -1, 1) + 1) * (_BINS / 2)).astype(np.int32)
        pair = (
            np.arange(there.start, there.stop)
            > np.arange(here.start, here.stop)[:, None]
        )
        same = who[here][:, None] == who[there][None, :]
        for kind, mask in ((1, pair & same), (0, pair & ~same)):
            counts[kind] += np.bincount(bins[mask], minlength=_BINS + 1)
    if not counts[0].any() or not counts[1].any():
        return None
    centres = (np.arange(_BINS + 1) + 0.5) / (_BINS / 2) - 1
    moments = []
    for each in counts:
        mean = (each * centres).sum() / each.sum()
        deviation = np.sqrt((each * (centres - mean) ** 2).sum() / each.sum())
        moments.append((float(mean), float(deviation)))
    impostor, genuine = moments
    spread = np.sqrt((impostor[1] ** 2 + genuine[1] ** 2) / 2)
    return Separability(
        eer=_eer(counts[1], counts[0]),
        eer_interval=_interval(people),
        d_prime=float((genuine[0] - impostor[0]) / max(spread, 1e-12)),
        genuine=genuine,
        impostor=impostor,
        num_genuine=int(counts[1].sum()),
        num_impostor=int(counts[0].sum()),
    )


def _eer(genuine: np.ndarray, impostor: np.ndarray) -> float:
    """The equal error rate of weights by rising bins of the score."""
    rejected = np.concatenate([[0], np.cumsum(genuine)]) / genuine.sum()
    accepted = 1 - np.concatenate([[0], np.cumsum(impostor)]) / impostor.sum()
    gap = rejected - accepted
    after = int(np.argmax(gap >= 0))
    before = max(0, after - 1)
    share = -gap[before] / max(gap[after] - gap[before], 1e-12)
    return float(rejected[before] + share * (rejected[after] - rejected[before]))


def _interval(people: People) -> tuple[float, float] | None:
    """95 % of the equal error rate, by the double-or-nothing bootstrap over people.

    A person weighs 0 or 2, a pair the product of both: pairs share people, and
    resampling pairs would call that independence (Fogliato, Patil and Perona, IJCV
    2024).
    """
    if len(people.counts) < 10:
        return None
    random = np.random.default_rng(0)
    order = random.permutation(len(people.counts))
    # Whole people, as many as give the sample.
    taken = order[: np.searchsorted(np.cumsum(people.counts[order]), _SAMPLED) + 1]
    rows = np.flatnonzero(np.isin(people.who, taken))
    who = np.unique(people.who[rows], return_inverse=True)[1]
    cosines = people.rows[rows] @ people.rows[rows].T
    first, second = np.triu_indices(len(rows), 1)
    score = cosines[first, second]
    same = who[first] == who[second]
    if not same.any() or same.all():
        return None
    bins = ((np.clip(score, -1, 1) + 1) * 1024).astype(np.int64)
    rates = []
    for _ in range(_DRAWS):
        weight = 2.0 * random.integers(0, 2, who.max() + 1)
        pair = weight[who[first]] * weight[who[second]]
        # A genuine pair is of one person, who weighs once.
        pair = np.where(same, weight[who[first]], pair)
        genuine = np.bincount(bins[same], pair[same], 2049)
        impostor = np.bincount(bins[~same], pair[~same], 2049)
        if genuine.sum() and impostor.sum():
            rates.append(_eer(genuine, impostor))
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)
