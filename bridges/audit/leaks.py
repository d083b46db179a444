"""Leaks: images of a set that are nearer to real people than those are to one another.

Every *image* is compared with the images of the real set and with the centres of its
people: means of folders hide leaks that images show (an issue of Vec2Face's). What is
near depends on the recogniser and on how many were compared, since a maximum grows with
it; so the measure is the real set itself: how near each of its images comes to those of
*other* people, among as many.
"""

from typing import NamedTuple

import numpy as np

from bridges.audit.neighbours import nearest_rows
from bridges.audit.people import People
from hyperface_jax import InputError

QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


class Leaks(NamedTuple):
    """What was found against one real set.

    Attributes:
      name: of the real set.
      threshold: nearer is a leak.
      origin: where the threshold comes from, in words.
      rows: ``[m]`` images of the audited set that are leaks, the nearest first.
      nearest: ``[m]`` the image of the real set that each is nearest to.
      cosines: ``[m]`` of the two, or to the person's centre where that is larger.
      to_centre: ``[m]`` bool, whether it is.
      quantiles: of the nearest cosine of the audited set's images, by share.
      real_quantiles: of the real set's own to other people, among as many queries;
        empty where nothing says who is who in it.
      compared: queries and candidates of both distributions.
    """

    name: str
    threshold: float
    origin: str
    rows: np.ndarray
    nearest: np.ndarray
    cosines: np.ndarray
    to_centre: np.ndarray
    quantiles: dict[str, float]
    real_quantiles: dict[str, float]
    compared: dict[str, int]


def find_leaks(
    rows: np.ndarray,
    real: np.ndarray,
    labels: np.ndarray | None,
    *,
    name: str,
    threshold: float | None = None,
) -> Leaks:
    """Compares all images with all of a real set.

    Args:
      rows: ``[n, d]`` float32, unit rows of the audited set.
      real: ``[m, d]`` float32, unit rows of the real set.
      labels: ``[m]``: who is on each; None where nothing says it.
      name: of the real set.
      threshold: a cosine; None for the largest between images of two people of the
        real set.

    Raises:
      InputError: no threshold, and no two people in the real set to find one.
    """
    found, at = nearest_rows(rows, real, description=f"against {name}")
    to_centre = np.zeros(len(rows), bool)
    cosines = found.copy()
    own = None
    if labels is not None:
        people = People.of(real, labels)
        centres = people.centres.astype(np.float32)
        nearer, person = nearest_rows(rows, centres, description="against centres")
        to_centre = nearer > found
        cosines = np.maximum(found, nearer)
        # Shown is the person's image that is nearest, or the first.
        first = np.zeros(len(people.counts), np.int64)
        first[people.who[::-1]] = np.arange(len(real))[::-1]
        at = np.where(to_centre & (people.who[at] != person), first[person], at)
        own, _ = nearest_rows(
            real, real, people=(people.who, people.who), description="the real set"
        )
        own = own[np.isfinite(own)]
    origin = "given by --threshold"
    if threshold is None:
        if own is None or not len(own):
            raise InputError(
                f"{name}: nothing says who is who in it, so how near its people are to "
                "one another can't be told; give labels, or --threshold"
            )
        threshold = float(own.max())
        origin = f"the largest cosine between images of two people of {name}"
    leaking = np.flatnonzero(cosines > threshold)
    leaking = leaking[np.argsort(-cosines[leaking], kind="stable")]
    random = np.random.default_rng(0)
    queries = len(rows) if own is None else min(len(rows), len(own))

    def quantiles(values: np.ndarray) -> dict[str, float]:
        some = random.choice(values, queries, replace=False)
        return {f"{q:g}": float(np.quantile(some, q)) for q in QUANTILES}

    return Leaks(
        name=name,
        threshold=threshold,
        origin=origin,
        rows=leaking,
        nearest=at[leaking],
        cosines=cosines[leaking],
        to_centre=to_centre[leaking],
        quantiles=quantiles(found),
        real_quantiles={} if own is None or not len(own) else quantiles(own),
        compared={"queries": queries, "candidates": len(real)},
    )
