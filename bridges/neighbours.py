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


def near_pairs(
    rows: np.ndarray,
    people: np.ndarray,
    threshold: float,
    *,
    queries: np.ndarray | None = None,
    description: str = "comparing",
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that are near to a row of somebody else.

    Args:
      rows: ``[n, d]`` float32, unit rows; may be mapped from a file.
      people: ``[n]``: who each is.
      threshold: cosine from which on two rows are near.
      queries: ``[q]`` the rows to compare with all; by default every one.
      description: of the progress bar.

    Returns:
      ``[m]`` int64, rising: the rows that are near to one that was asked for, or were
      asked for and are near to another. And ``[m]`` the row of somebody else that is
      nearest to each, of all rows for a query, else of the queries.
    """
    asked = np.arange(len(rows)) if queries is None else np.asarray(queries)
    best = np.full(len(rows), -np.inf, np.float32)
    nearest = np.full(len(rows), -1, np.int64)

    def improve(who: np.ndarray, cosines: np.ndarray, partners: np.ndarray) -> None:
        better = cosines > best[who]
        best[who[better]] = cosines[better]
        nearest[who[better]] = partners[better]

    chosen, upper = (rows, True) if queries is None else (rows[asked], False)
    # Each tile counts for both of its sides, so of a set with itself half are enough.
    for here, there, cosines in tiles(
        chosen, rows, description=description, upper=upper
    ):
        mine, theirs = asked[here], np.arange(there.start, there.stop)
        same = people[mine][:, None] == people[theirs][None, :]
        cosines[same] = -np.inf
        columns = cosines.argmax(1)
        improve(mine, cosines[np.arange(len(mine)), columns], theirs[columns])
        lines = cosines.argmax(0)
        improve(theirs, cosines[lines, np.arange(len(theirs))], mine[lines])
    found = np.flatnonzero(best >= threshold)
    return found, nearest[found]
