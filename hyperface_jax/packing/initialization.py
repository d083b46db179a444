"""Where references start: at distinct people of the gallery."""

from typing import Any, NamedTuple

import numpy as np

from hyperface_jax import checks
from hyperface_jax.errors import InputError


class Initial(NamedTuple):
    """Where references start.

    Attributes:
      embeddings: ``[n, d]`` float32, unit rows.
      gallery_rows: ``[n]`` int64, the gallery row each is, or -1 for a mixture.
      num_mixtures: how many are mixtures of two gallery rows, the last ones.
    """

    embeddings: np.ndarray
    gallery_rows: np.ndarray
    num_mixtures: int


def from_gallery(
    gallery: np.ndarray,
    labels: Any,
    n: int | None,
    seed: int,
    *,
    taken: np.ndarray | None = None,
) -> Initial:
    """Chooses where ``n`` references start.

    With ``labels`` each start is one row of another identity, chosen at random; without
    them, another row. When the gallery has too few, the remaining references start at
    normalised mixtures of the rows of two identities: as near to faces as one gets
    without being any of them.

    Args:
      gallery: ``[m, d]`` float32, unit rows.
      labels: ``[m]`` whole numbers or names, whose image each row is, or None.
      n: how many, at least 1; None takes as many as the gallery has people.
      seed: of the choice.
      taken: gallery rows whose people stand in an earlier set already: they are chosen
        last.

    Raises:
      InputError: ``n`` is below 1, or mixtures are needed of a single identity.
    """
    if labels is not None:
        labels = checks.labels(labels, len(gallery))
    if n is not None:
        checks.whole_number(n, "num_identities", 1, checks.MOST)
    checks.whole_number(seed, "seed", 0)
    random = np.random.default_rng(seed)
    rows = random.permutation(len(gallery))
    if labels is not None:
        _, first = np.unique(labels[rows], return_index=True)
        # Keep the order of the permutation, so that any prefix is a random choice.
        rows = rows[np.sort(first)]
    if taken is not None:
        people = np.arange(len(gallery)) if labels is None else labels
        last = np.isin(people[rows], people[taken])
        rows = np.concatenate([rows[~last], rows[last]])
    n = len(rows) if n is None else n
    missing = max(0, n - len(rows))
    if missing and len(rows) < 2:
        raise InputError(
            f"the gallery holds one identity, not enough to start {n} from; "
            "embed images of more people"
        )
    chosen = gallery[rows[:n]]
    if missing:
        chosen = np.concatenate([chosen, _mixtures(gallery[rows], missing, random)])
    gallery_rows = np.concatenate([rows[:n], np.full(missing, -1)]).astype(np.int64)
    return Initial(chosen.astype(np.float32), gallery_rows, missing)


def _mixtures(rows: np.ndarray, n: int, random: np.random.Generator) -> np.ndarray:
    first = random.integers(len(rows), size=n)
    second = (first + random.integers(1, len(rows), size=n)) % len(rows)
    # Random shares, so that the same two people can be mixed more than once.
    share = random.uniform(0.3, 0.7, size=(n, 1))
    mixed = share * rows[first] + (1 - share) * rows[second]
    norms = np.linalg.norm(mixed, axis=1, keepdims=True)
    # Opposite rows, which faces don't have, could cancel: keep one of them.
    mixed = np.where(norms > 1e-3, mixed, rows[first])
    return mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
