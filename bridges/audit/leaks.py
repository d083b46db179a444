"""Leaks: images of a set that show a real person, as far as a recogniser can tell.

Every *image* is compared with the images of the real set and with the centres of its
people: means of folders hide leaks that images show (an issue of Vec2Face's). What is
near depends on the recogniser, so the measure is the real set itself: a leak is as near
as all but one in 20 of its images are to their own person's nearest other, and nearer
than any is to another person. How near images come below that is for the eye: the
distribution of nearest cosines stands beside that of the real set's to *other* people,
among as many and of as many, since a maximum grows with the number compared.
"""

from typing import NamedTuple

import numpy as np

from bridges.audit.people import People, usual
from bridges.neighbours import nearest_rows
from hyperface_jax import InputError

QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


class Leaks(NamedTuple):
    """What was found against one real set.

    Attributes:
      name: of the real set.
      threshold: nearer to an image is a leak.
      centre_threshold: nearer to a person's centre is one.
      origin: where the threshold comes from, in words.
      rows: ``[m]`` images of the audited set that are leaks, the nearest first.
      nearest: ``[m]`` the image of the real set that each is nearest to.
      cosines: ``[m]`` of the two, or to the person's centre.
      to_centre: ``[m]`` bool, whether to the centre, which is then the clearer leak.
      quantiles: of the nearest cosine of the audited set's images, by share.
      real_quantiles: of the real set's own to other people, among as many queries;
        empty where nothing says who is who in it.
      compared: queries and candidates of both distributions.
    """

    name: str
    threshold: float
    centre_threshold: float
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
      threshold: a cosine; None for what the real set says, see above. With one image
        a person it knows the largest cosine of two people alone, and about n / m
        images exceed that by chance.

    Raises:
      InputError: no threshold, and no two people in the real set to find one.
    """
    found, at = nearest_rows(rows, real, description=f"against {name}")
    nearer = np.full(len(rows), -np.inf, np.float32)
    own = own_centre = np.zeros(0, np.float32)
    if labels is not None:
        people = People.of(real, labels)
        centres = people.centres.astype(np.float32)
        nearer, person = nearest_rows(rows, centres, description="against centres")
        each = np.arange(len(centres))
        own, own_centre = (
            nearest_rows(real, others, people=(people.who, who), description=what)[0]
            for others, who, what in (
                (real, people.who, "the real set"),
                (centres, each, "its centres"),
            )
        )
        own, own_centre = own[np.isfinite(own)], own_centre[np.isfinite(own_centre)]
    origin = "given by --threshold"
    centre_threshold = threshold
    if threshold is None:
        if not len(own):
            raise InputError(
                f"{name}: nothing says who is who in it, so how near its people are to "
                "one another can't be told; give labels, or --threshold"
            )
        # NaN, of one image a person, is never the larger.
        threshold = float(np.fmax(own.max(), usual(people.nearest_own())))
        centre_threshold = float(np.fmax(own_centre.max(), usual(people.own_centre())))
        origin = (
            f"as near as one's own images usually are in {name}, and nearer than any "
            "two people of it"
        )
    # A centre is nearer to everyone than images are, so it has a limit of its own.
    over, over_centre = found - threshold, nearer - centre_threshold
    to_centre = over_centre > over
    if to_centre.any():
        # Shown is the nearest image if it is the person's, else the person's first.
        first = np.zeros(len(people.counts), np.int64)
        first[people.who[::-1]] = np.arange(len(real))[::-1]
        at = np.where(to_centre & (people.who[at] != person), first[person], at)
    cosines = np.where(to_centre, nearer, found)
    margin = np.maximum(over, over_centre)
    leaking = np.flatnonzero(margin > 0)
    leaking = leaking[np.argsort(-margin[leaking], kind="stable")]
    queries = min(len(rows), len(own)) if len(own) else len(rows)
    random = np.random.default_rng(0)

    def quantiles(values: np.ndarray) -> dict[str, float]:
        some = random.choice(values, queries, replace=False)
        return {f"{q:g}": float(np.quantile(some, q)) for q in QUANTILES}

    return Leaks(
        name=name,
        threshold=threshold,
        centre_threshold=centre_threshold,
        origin=origin,
        rows=leaking,
        nearest=at[leaking],
        cosines=cosines[leaking],
        to_centre=to_centre[leaking],
        quantiles=quantiles(found),
        real_quantiles=quantiles(own) if len(own) else {},
        compared={"queries": queries, "candidates": len(real)},
    )
