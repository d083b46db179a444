"""Identification: who of the people enrolled is it, and is it anybody of them?

Closed set: the rank of a probe's own person among all enrolled people, each as near as
the nearest of its images (rank-k, the cumulative match characteristic). Open set: FPIR,
the share of searches for people who are not enrolled that find somebody above the
threshold, and FNIR, the share of searches for enrolled people that don't find the
right one first and above it (ISO/IEC 19795-1; Grother and Ngan, NISTIR 8271).
"""

from typing import Any, NamedTuple

import numpy as np

from bridges.evaluation.error_rates import allowed_impostors
from bridges.evaluation.intervals import CONFIDENCE, rate_interval
from hyperface_jax import InputError
from hyperface_jax.commands import progress

RANKS = (1, 5, 10, 20)
POSITIVE_RATES = ("1e-1", "1e-2", "1e-3")
# Cosines at a time, and points of the CMC that are kept.
_BLOCK = 1 << 23
_MOST_RANKS = 100


class Searches(NamedTuple):
    """What the search for each probe found.

    Attributes:
      rank: ``[p]`` int64, of the probe's own person; 0 where that is not enrolled.
        Somebody equally near comes first.
      own: ``[p]`` float32, the cosine with the nearest image of the own person; -inf
        where there is none.
      other: ``[p]`` float32, with the nearest image of anybody else; -inf likewise.
    """

    rank: np.ndarray
    own: np.ndarray
    other: np.ndarray


def search_people(
    gallery: np.ndarray,
    enrolled: np.ndarray,
    probes: np.ndarray,
    people: np.ndarray,
    *,
    leave_one_out: bool = False,
) -> Searches:
    """Searches the gallery for every probe.

    Args:
      gallery: ``[n, d]`` float32, unit rows.
      enrolled: ``[n]`` who each is.
      probes: ``[p, d]`` float32, unit rows.
      people: ``[p]`` who each is, by the same names.
      leave_one_out: the probes are the gallery; each is left out of it while it is
        searched for.

    Returns:
      Ranks and cosines.
    """
    order = np.argsort(enrolled, kind="stable")
    gallery, names = gallery[order], enrolled[order]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    known, starts = np.unique(names, return_index=True)
    column = np.searchsorted(known, people)
    column[column == len(known)] = 0
    mated = known[column] == people
    rank = np.zeros(len(probes), np.int64)
    own = np.full(len(probes), -np.inf, np.float32)
    other = np.full(len(probes), -np.inf, np.float32)
    step = max(1, _BLOCK // len(gallery))
    for start in progress(
        range(0, len(probes), step), description="searching", unit="block"
    ):
        here = np.arange(start, min(start + step, len(probes)))
        cosines = probes[here] @ gallery.T
        if leave_one_out:
            cosines[np.arange(len(here)), place[here]] = -np.inf
        best = np.maximum.reduceat(cosines, starts, axis=1)
        some = np.flatnonzero(mated[here])
        rows = here[some]
        own[rows] = best[some, column[rows]]
        best[some, column[rows]] = -np.inf
        other[here] = best.max(1)
        rank[here] = 1 + (best >= own[here][:, None]).sum(1)
    rank[np.isneginf(own)] = 0
    return Searches(rank, own, other)


def identification(
    found: Searches, people: np.ndarray, *, leave_one_out: bool = False
) -> dict[str, Any]:
    """Figures of searches.

    Args:
      found: of all probes.
      people: ``[p]`` who each probe is, for the intervals.
      leave_one_out: count every probe as one of a person who is not enrolled, too, by
        what was found of others.

    Returns:
      JSON-ready: ``closed_set`` with ``num_probes``, ``rank`` (share found, by rank),
      ``intervals`` of these and ``cmc``; ``open_set`` with ``num_mated``,
      ``num_unmated`` and ``fnir_at_fpir`` by rate: ``fnir``, its ``interval``, the
      ``fpir`` reached and the ``threshold``; None where too few unmated searches tell.

    Raises:
      InputError: no probe is of a person enrolled.
    """
    mated = found.rank > 0
    if not mated.any():
        raise InputError(
            "no probe is of a person in the gallery; check that both are labelled by "
            "the same names or numbers"
        )
    _, who = np.unique(people, return_inverse=True)
    pairs = np.stack([who, who], axis=1)[mated]
    ranks = found.rank[mated]
    most = min(_MOST_RANKS, int(ranks.max()))
    cmc = np.bincount(np.minimum(ranks, most + 1), minlength=most + 2)[1:-1].cumsum()
    shares = {str(k): rate_interval(ranks <= k, pairs) for k in RANKS}
    unmated = found.other if leave_one_out else found.other[~mated]
    return {
        "confidence": CONFIDENCE,
        "closed_set": {
            "num_probes": int(mated.sum()),
            "rank": {k: share.rate for k, share in shares.items()},
            "intervals": {k: list(share.bounds) for k, share in shares.items()},
            "cmc": (cmc / len(ranks)).tolist(),
        },
        "open_set": {
            "num_mated": int(mated.sum()),
            "num_unmated": len(unmated),
            "fnir_at_fpir": {
                rate: _open_set(found, mated, pairs, unmated, float(rate))
                for rate in POSITIVE_RATES
            },
        },
    }


def _open_set(
    found: Searches,
    mated: np.ndarray,
    pairs: np.ndarray,
    unmated: np.ndarray,
    rate: float,
) -> dict[str, Any] | None:
    """FNIR at the lowest threshold that keeps the FPIR."""
    scores = np.sort(unmated[np.isfinite(unmated)])[::-1]
    allowed = allowed_impostors(rate, len(scores))
    if not 0 < allowed < len(scores):
        return None
    threshold = scores[allowed]
    missed = (found.rank[mated] > 1) | (found.own[mated] <= threshold)
    share = rate_interval(missed, pairs)
    return {
        "fnir": share.rate,
        "interval": list(share.bounds),
        "fpir": float((scores > threshold).mean()),
        "threshold": float(threshold),
    }
