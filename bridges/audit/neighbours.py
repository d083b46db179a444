"""Exact nearest rows in memory that does not grow with the number of pairs."""

from collections.abc import Iterator

import numpy as np

from hyperface_jax.commands import progress

_QUERIES, _ROWS = 2048, 8192


def nearest_rows(
    queries: np.ndarray,
    rows: np.ndarray,
    *,
    people: tuple[np.ndarray, np.ndarray] | None = None,
    description: str = "comparing",
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest row of each query, of all of them.

    Args:
      queries: ``[q, d]`` float32, unit rows.
      rows: ``[n, d]`` float32, unit rows.
      people: ``[q]`` and ``[n]``: who each is; rows of the query's own person do not
        count. None to count all.
      description: of the progress bar.

    Returns:
      ``[q]`` float32 cosines, -inf where no row counts, and ``[q]`` int64 rows, -1
      there; of equal cosines the lowest row.
    """
    best = np.full(len(queries), -np.inf, np.float32)
    found = np.full(len(queries), -1, np.int64)
    for here, there, cosines in tiles(queries, rows, description=description):
        if people is not None:
            same = people[0][here][:, None] == people[1][there][None, :]
            cosines[same] = -np.inf
        column = cosines.argmax(1)
        cosine = cosines[np.arange(len(column)), column]
        better = cosine > best[here]
        best[here][better] = cosine[better]
        found[here][better] = there.start + column[better]
    return best, found


def tiles(
    queries: np.ndarray, rows: np.ndarray, *, description: str, upper: bool = False
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Tiles of the matrix of cosines: where in queries and rows, and the cosines.

    Args:
      queries: ``[q, d]``.
      rows: ``[n, d]``.
      description: of the progress bar.
      upper: of a set with itself, only tiles that hold pairs of rising position.
    """
    starts = range(0, len(queries), _QUERIES)
    for start in progress(starts, description=description, unit="block"):
        here = slice(start, min(start + _QUERIES, len(queries)))
        for first in range(0, len(rows), _ROWS):
            there = slice(first, min(first + _ROWS, len(rows)))
            if upper and there.stop <= here.start:
                continue
            yield here, there, queries[here] @ rows[there].T
