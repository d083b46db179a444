"""How many identities a gallery region holds that a verifier can tell apart.

Measured from below by packings that were found and checked, bounded from above by what
no packing can pass.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hyperface_jax import checks
from hyperface_jax.bounds import max_cosine
from hyperface_jax.packing import initialization
from hyperface_jax.packing.config import PackingConfig
from hyperface_jax.packing.descent import OnProgress
from hyperface_jax.packing.packing import PackingResult, pack_embeddings

# Packings approach their optimum only in the limit; thresholds are coarser than this.
RESOLUTION = 1e-4
LARGEST_LIMIT = 1 - 2 * RESOLUTION
# Descents of few points end in local optima; with many, starts hardly matter.
_STARTS = ((100, 8), (1000, 2))
_BLOCK = 512


class Capacity(NamedTuple):
    """What was found of a region's capacity.

    Attributes:
      max_reference_cosine: how near two references may come, and ``RESOLUTION`` more,
        for what is found and for the bound; None when even opposite ones are confused.
      identities: the most references found that keep it, all within the region.
      gallery_identities: how many people of the gallery keep it as they are, chosen
        one after the other.
      bound: no more than this many can keep it; infinite beyond what can be counted.
      bound_source: which bound that is.
      embeddings: ``[identities, d]``, the references found.
      gallery_cosine: ``[identities]``, of each to its nearest gallery row.
      trials: number of references packed, to how many of them keep it.
    """

    max_reference_cosine: float | None
    identities: int
    gallery_identities: int
    bound: float
    bound_source: str
    embeddings: np.ndarray
    gallery_cosine: np.ndarray
    trials: dict[int, int]


class _References(NamedTuple):
    """Valid references ``[n, d]``, and the cosine of each to the gallery ``[n]``."""

    embeddings: np.ndarray
    gallery_cosine: np.ndarray


OnTrial = Callable[[int, int], None]


def measure_capacity(
    gallery: Any,
    max_reference_cosine: float | None,
    config: PackingConfig | None = None,
    *,
    labels: Any = None,
    min_gallery_cosine: float | None = None,
    max_identities: int = 100_000,
    on_trial: OnTrial | None = None,
    on_progress: OnProgress | None = None,
) -> Capacity:
    """Packs more and more references until two of them would be confused.

    The number is doubled until a packing fails, then halved in on to 5 %. Of a packing
    that fails, the references that keep the limit count, so every figure is that of
    embeddings at hand. A better packing could find more, up to the bound.

    Args:
      gallery: ``[m, d]``, unit rows, ``d >= 3``.
      max_reference_cosine: how near two references may come, at most 0.9998: of
        :func:`hyperface_jax.worst_case_cosine` or ``typical_cosine``. None: even
        opposite references are confused, and the capacity is 1.
      config: how to pack; its regularisation weight is how strongly references are
        held near the gallery.
      labels: ``[m]`` whole numbers or names, the identity of each gallery row, or
        None.
      min_gallery_cosine: where the region ends: references less near than this to
        every gallery row don't count. None: they all do, and the bound is that of the
        whole sphere.
      max_identities: where to stop, at least 2.
      on_trial: called after a packing with the number packed and the most found yet.
      on_progress: called within a packing, see :func:`hyperface_jax.pack_embeddings`.

    Raises:
      InputError: malformed input.
    """
    config = PackingConfig() if config is None else config
    checks.instance_of(config, "config", PackingConfig)
    for name, function in (("on_trial", on_trial), ("on_progress", on_progress)):
        checks.can_be_called(function, name)
    gallery = checks.unit_rows(gallery, "gallery", min_rows=2)
    checks.in_range(gallery.shape[1], "the dimension of the gallery", 3)
    checks.whole_number(max_identities, "max_identities", 2, checks.MOST)
    if labels is not None:
        labels = checks.labels(labels, len(gallery))
    if min_gallery_cosine is not None:
        checks.in_range(min_gallery_cosine, "min_gallery_cosine", -1, 1)
    if max_reference_cosine is None:
        one = gallery[:1]
        return Capacity(None, 1, 1, 1.0, "confused", one, np.ones(1), {})
    checks.in_range(max_reference_cosine, "max_reference_cosine", -1, LARGEST_LIMIT)
    limit = max_reference_cosine + RESOLUTION
    people = initialization.from_gallery(gallery, labels, None, config.seed).embeddings
    own = people[_keep_apart(people, limit)]
    bound, source = region_bound(gallery, limit, min_gallery_cosine)
    best, trials = _References(own, np.ones(len(own))), {}
    keep = functools.partial(_keep, limit=limit, min_gallery_cosine=min_gallery_cosine)

    def pack(n: int) -> int:
        nonlocal best
        found = _pack(n, gallery, labels, config, keep, on_progress)
        trials[n] = len(found.embeddings)
        if trials[n] > len(best.embeddings):
            best = found
        if on_trial is not None:
            on_trial(n, len(best.embeddings))
        return trials[n]

    _find_largest(pack, len(own), int(min(max_identities, bound)))
    return Capacity(
        max_reference_cosine,
        len(best.embeddings),
        len(own),
        bound,
        source,
        *best,
        trials,
    )


def region_bound(
    gallery: np.ndarray, limit: float, min_gallery_cosine: float | None
) -> tuple[float, str]:
    r"""The least proven bound on how many references a region holds, and its name.

    ``sphere``: Levenshtein's and Rankin's, of all the sphere. With an end to the
    region, an angle :math:`ρ` around the gallery, and a least angle :math:`θ` between
    references: ``cover``: when the gallery is covered by caps of radius :math:`θ/2 -
    ρ`, a reference is within :math:`θ/2` of a centre, and two near the same centre
    would be too near each other: at most one a cap. ``cap``: when all references have
    a cosine of at least :math:`h` to one direction, :math:`n^2 h^2 ≤ |\sum x_i|^2 ≤ n +
    n (n - 1) s`.

    Args:
      gallery: ``[m, d]`` float32, unit rows.
      limit: ``s``, the largest cosine of two references, in [-1, 1).
      min_gallery_cosine: ``cos ρ``, or None: no end.
    """
    d = gallery.shape[1]
    found = [(max_cosine.capacity_bound(limit, d), "sphere")]
    if min_gallery_cosine is not None:
        reach, apart = math.acos(min_gallery_cosine), math.acos(limit)
        # float32 cosines of equal rows differ from 1 by an angle of up to about 5e-4.
        radius = apart / 2 - reach - 1e-3
        if radius > 0:
            caps = _keep_apart(gallery, math.cos(radius))
            found.append((float(len(caps)), "cover"))
        centre = gallery.mean(axis=0, dtype=np.float64)
        centre /= max(np.linalg.norm(centre), 1e-12)
        angle = math.acos(np.clip((gallery @ centre).min() - 1e-6, -1, 1)) + reach
        height = math.cos(angle) if angle < math.pi / 2 else 0.0
        if height**2 > max(limit, 0):
            cap = math.floor((1 - limit) / (height**2 - limit) + 1e-9)
            found.append((float(max(cap, 1)), "cap"))
    return min(found)


def _pack(
    n: int,
    gallery: np.ndarray,
    labels: Any,
    config: PackingConfig,
    keep: Callable[[PackingResult], _References],
    on_progress: OnProgress | None,
) -> _References:
    """Packs ``n`` references from several starts; returns the most valid ones."""
    best = None
    for start in range(next((s for size, s in _STARTS if n <= size), 1)):
        # Only the start changes: another config would be compiled anew.
        initial = initialization.from_gallery(gallery, labels, n, config.seed + start)
        found = keep(
            pack_embeddings(
                initial.embeddings, gallery, config, on_progress=on_progress
            )
        )
        if best is None or len(found.embeddings) > len(best.embeddings):
            best = found
        if len(best.embeddings) == n:
            break
    return best


def _find_largest(pack: Callable[[int], int], known: int, most: int) -> None:
    """Calls ``pack`` with numbers that approach the largest one that fits."""
    low, high = known, None
    while low < most and high is None:
        n = min(max(2 * low, 2), most)
        kept = pack(n)
        low, high = max(low, kept), None if kept == n else n
    # To 5 %: packings of nearly equal size differ by chance more than by size.
    while high is not None and high - low > max(1, low // 20):
        middle = (low + high) // 2
        kept = pack(middle)
        low, high = max(low, kept), high if kept == middle else middle


def _keep(
    found: PackingResult, limit: float, min_gallery_cosine: float | None
) -> _References:
    """The references of a packing that lie in the region and keep the limit."""
    inside = np.ones(len(found.embeddings), bool)
    if min_gallery_cosine is not None:
        inside = found.gallery_cosine >= min_gallery_cosine
    alone = inside & (found.nearest_cosine <= limit)
    crowded = np.flatnonzero(inside & ~alone)
    # The least crowded first: they stand in the way of the fewest others.
    crowded = crowded[np.argsort(found.nearest_cosine[crowded], kind="stable")]
    kept = crowded[_keep_apart(found.embeddings[crowded], limit)]
    rows = np.sort(np.concatenate([np.flatnonzero(alone), kept]))
    return _References(found.embeddings[rows], found.gallery_cosine[rows])


def _keep_apart(rows: np.ndarray, limit: float) -> np.ndarray:
    """Rows in order, each kept when its cosine to all kept before is up to ``limit``.

    Those left out are nearer than that to one that is kept.
    """
    kept: list[int] = []
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        free = np.arange(len(block))
        if kept:
            free = np.flatnonzero((block @ rows[kept].T).max(axis=1) <= limit)
        near = block[free] @ block[free].T > limit
        chosen: list[int] = []
        for i in range(len(free)):
            if not near[i, chosen].any():
                chosen.append(i)
        kept += (start + free[chosen]).tolist()
    return np.asarray(kept, np.int64)
