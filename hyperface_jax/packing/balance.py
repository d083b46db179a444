"""Balanced packing: chosen shares of the references for each group of the gallery.

References start at people of their group, in the shares wanted; whether they are still
nearest to faces of that group when packed is measured and reported.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hyperface_jax import checks
from hyperface_jax.embeddings.conversion import as_strings
from hyperface_jax.errors import InputError
from hyperface_jax.neighbours import similarity, tiles
from hyperface_jax.packing import initialization

# Shares written in decimals, such as three of 0.33, need not sum to 1 exactly.
_SUM_TOLERANCE = 0.02


class BalancedStart(NamedTuple):
    """Where references start, and the group of each.

    Attributes:
      initial: the rows, group after group, in the order of the alphabet.
      groups: ``[n]`` str.
      mixtures: for each group that has fewer people than references wanted of it, how
        many start at mixtures of two of its people.
    """

    initial: initialization.Initial
    groups: np.ndarray
    mixtures: dict[str, int]


def from_gallery(
    gallery: np.ndarray,
    labels: Any,
    groups: Any,
    n: int | None,
    seed: int,
    *,
    shares: Mapping[str, float] | None = None,
    taken: np.ndarray | None = None,
) -> BalancedStart:
    """Chooses where ``n`` references start, each group by its share.

    Args:
      gallery: ``[m, d]`` float32, unit rows.
      labels: ``[m]`` whole numbers or names, whose image each row is, or None.
      groups: ``[m]`` str, the group of each row.
      n: how many; None takes the most that need no mixture in any group.
      seed: of the choice.
      shares: of each group, above 0, in all 1; None gives all groups the same. Groups
        without a share get no reference.
      taken: gallery rows whose people stand in an earlier set already: they are chosen
        last.

    Raises:
      InputError: shares that don't fit the groups, fewer references than groups, or a
        group with one person of whom more are wanted.
    """
    if labels is not None:
        labels = checks.labels(labels, len(gallery))
    groups = as_strings(groups, len(gallery), "groups")
    if n is not None:
        checks.whole_number(n, "num_identities", 1, checks.MOST)
    shares = _checked(shares, np.unique(groups))
    people = {}
    for name in shares:
        rows = groups == name
        people[name] = int(rows.sum() if labels is None else len(set(labels[rows])))
    counts = _most(people, shares) if n is None else apportion(n, shares)
    empty = [name for name, count in counts.items() if count == 0]
    if empty:
        raise InputError(
            f"num_identities is {sum(counts.values())}, which leaves none for the "
            f"group {empty[0]}; ask for more, or give that group no share"
        )
    parts = []
    for name, count in counts.items():
        if people[name] == 1 and count > 1:
            raise InputError(
                f"the gallery holds 1 person of the group {name}, not enough to start "
                f"{count} from; embed images of more people of that group"
            )
        rows = np.flatnonzero(groups == name)
        parts.append(_from_rows(rows, gallery, labels, count, seed, taken))
    initial = initialization.Initial(
        np.concatenate([part.embeddings for part in parts]),
        np.concatenate([part.gallery_rows for part in parts]),
        sum(part.num_mixtures for part in parts),
    )
    mixtures = {
        name: part.num_mixtures
        for name, part in zip(counts, parts, strict=True)
        if part.num_mixtures
    }
    return BalancedStart(
        initial, np.repeat(list(counts), list(counts.values())), mixtures
    )


def _from_rows(
    rows: np.ndarray,
    gallery: np.ndarray,
    labels: np.ndarray | None,
    n: int,
    seed: int,
    taken: np.ndarray | None,
) -> initialization.Initial:
    """Starts ``n`` references at people of some ``rows`` of the gallery alone."""
    part = initialization.from_gallery(
        gallery[rows],
        None if labels is None else labels[rows],
        n,
        seed,
        taken=None if taken is None else np.flatnonzero(np.isin(rows, taken)),
    )
    chosen = part.gallery_rows
    return part._replace(gallery_rows=np.where(chosen < 0, -1, rows[chosen]))


def apportion(n: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Splits ``n`` by shares into whole numbers, by the largest remainders (Hamilton).

    Args:
      n: how many in all, at least 1.
      shares: of each group, above 0, in all 1.
    """
    checks.in_range(n, "num_identities", 1)
    total = sum(shares.values())
    exact = {name: n * share / total for name, share in shares.items()}
    # A share of exactly 3 may come out as 2.9999...
    counts = {name: int(value + 1e-9) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (counts[name] - exact[name], name))
    for name in by_remainder[: n - sum(counts.values())]:
        counts[name] += 1
    return counts


def balance_report(
    embeddings: np.ndarray,
    groups: np.ndarray,
    gallery: np.ndarray,
    gallery_groups: np.ndarray,
    *,
    block_size: int | None = None,
) -> dict[str, Any]:
    """Reports on each group after packing, JSON-ready.

    Args:
      embeddings: ``[n, d]`` float32, unit rows, the packed references.
      groups: ``[n]`` str, the group that each started in.
      gallery: ``[m, d]`` float32, unit rows.
      gallery_groups: ``[m]`` str.
      block_size: side of the tiles of cosines; None takes what suits the device.

    Returns:
      ``belonging``, the share of references whose nearest gallery row is of their own
      group, and by group ``count``, ``belonging``, ``count_by_nearest`` (references of
      any group whose nearest gallery row is of this one), ``mean_nearest_cosine`` (to
      any other reference), ``mean_gallery_cosine``, and ``max_cosine``: by group, the
      largest cosine of one of its references to one of that group, itself left out;
      None where there is no other.
    """
    # The lengths of rows in files may be off by 1e-3.
    embeddings = checks.unit_rows(embeddings, "references")
    gallery = checks.unit_rows(gallery, "gallery")
    found = similarity.nearest(embeddings, gallery, block_size=block_size)
    nearest_group = gallery_groups[np.asarray(found.row)]
    belongs, gallery_cosine = nearest_group == groups, np.asarray(found.cosine)
    names = np.unique(groups)
    # [n, groups]: the largest cosine to another reference of each group.
    to_group = np.stack(
        [_nearest_in(embeddings, groups == name, block_size) for name in names], axis=1
    )
    report = {}
    for name in names:
        mine = groups == name
        largest = to_group[mine].max(axis=0)
        report[str(name)] = {
            "count": int(mine.sum()),
            "belonging": float(belongs[mine].mean()),
            "count_by_nearest": int(np.sum(nearest_group == name)),
            "mean_nearest_cosine": float(to_group[mine].max(axis=1).mean()),
            "mean_gallery_cosine": float(gallery_cosine[mine].mean()),
            "max_cosine": {
                str(other): float(cosine) if cosine > tiles.MASKED else None
                for other, cosine in zip(names, largest, strict=True)
            },
        }
    return {"belonging": float(belongs.mean()), "groups": report}


def describe(report: dict[str, Any]) -> list[str]:
    """Formats a report for printing, one line a group."""
    lines = []
    for name, figures in report["groups"].items():
        within = figures["max_cosine"][name]
        between = [
            cosine
            for other, cosine in figures["max_cosine"].items()
            if other != name and cosine is not None
        ]
        lines.append(
            f"  {name}: {figures['count']} references, {figures['belonging']:.1%} "
            f"nearest to faces of the group, gallery cosine "
            f"{figures['mean_gallery_cosine']:.3f}, nearest other "
            f"{figures['mean_nearest_cosine']:.4f}, largest cosine within "
            + ("-" if within is None else f"{within:.4f}")
            + (f", to other groups {max(between):.4f}" if between else "")
        )
    return lines


def _nearest_in(
    embeddings: np.ndarray, members: np.ndarray, block_size: int | None
) -> np.ndarray:
    """``[n]``: the largest cosine to a member, other than the row itself."""
    rows = np.flatnonzero(members)
    itself = np.full(len(embeddings), -1)
    itself[rows] = np.arange(len(rows))
    found = similarity.nearest(
        embeddings, embeddings[rows], exclude=itself, block_size=block_size
    )
    return np.asarray(found.cosine, np.float64)


def _checked(shares: Mapping[str, float] | None, names: np.ndarray) -> dict[str, float]:
    """Shares in the order of the alphabet; equal ones when there are none."""
    if shares is None:
        return {str(name): 1 / len(names) for name in names}
    for name, share in shares.items():
        if name not in names:
            raise InputError(
                f"shares: the gallery holds no group {name!r}; it holds "
                f"{', '.join(map(str, names))}"
            )
        checks.in_range(share, f"the share of {name}", 0, 1, open_low=True)
    if abs(sum(shares.values()) - 1) > _SUM_TOLERANCE:
        raise InputError(
            f"the shares sum to {sum(shares.values()):g}, must sum to 1: "
            + ", ".join(f"{name} {share:g}" for name, share in shares.items())
        )
    return dict(sorted(shares.items()))


def _most(people: dict[str, int], shares: dict[str, float]) -> dict[str, int]:
    """The most references of which no group needs more than its people."""
    n = int(min(people[name] / share for name, share in shares.items()) + 1e-9)
    counts = apportion(max(n, 1), shares)
    # Rounding may give a group one more than it has people.
    while n > 1 and any(counts[name] > people[name] for name in shares):
        n -= 1
        counts = apportion(n, shares)
    return counts
