"""Exact search among embeddings by cosine, in blocks, from memory or from disk."""

import functools
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperface_jax import checks
from hyperface_jax.devices import sharded
from hyperface_jax.embeddings import embedding_file
from hyperface_jax.embeddings.rows import ROWS_AT_ONCE
from hyperface_jax.errors import InputError
from hyperface_jax.neighbours import ring, tiles

_QUERIES_AT_ONCE = 1024
# The k best entries lie in the k groups of the largest maxima, which are cheap to find.
_GROUP = 16


class RangeResult(NamedTuple):
    """Rows within reach of queries; those of query i are ``offsets[i:i+2]``.

    Attributes:
      offsets: ``[q + 1]`` int64.
      cosines: ``[total]`` float32, falling within a query.
      rows: ``[total]`` int64.
    """

    offsets: np.ndarray
    cosines: np.ndarray
    rows: np.ndarray


class EmbeddingIndex:
    """Embeddings to be searched.

    Every row is compared with every query: results are exact, to the rounding of
    float32. Of rows at equal cosine the lower comes first.

    Args:
      embeddings: ``[n, d]``, unit rows. A ``numpy.memmap`` is read piece by piece, at
        every search anew, and may be larger than memory.
      block_size: rows compared at once, at least 1; None takes 4,096.

    Attributes:
      embeddings: ``[n, d]``, the rows.
      about: what their file says of them, or None, see :meth:`load`.

    Raises:
      InputError: malformed rows or block size.

    Examples:
      >>> import numpy as np
      >>> from hyperface_jax import EmbeddingIndex
      >>> index = EmbeddingIndex(np.eye(3, dtype=np.float32))
      >>> cosines, rows = index.search(np.array([[0.0, 0.8, 0.6]], np.float32), k=2)
      >>> rows
      array([[1, 2]])
    """

    def __init__(self, embeddings: Any, *, block_size: int | None = None) -> None:
        checks.block_size(block_size)
        self.about: embedding_file.About | None = None
        self._on_disk = isinstance(embeddings, np.memmap)
        self._name = str(getattr(embeddings, "filename", None) or "embeddings")
        if self._on_disk:
            checks.unit_rows(embeddings[:1], self._name)
        else:
            embeddings = checks.unit_rows(embeddings, "embeddings")
        self.embeddings = embeddings
        self._block = min(block_size or 4096, len(embeddings), ROWS_AT_ONCE)

    def __len__(self) -> int:
        return len(self.embeddings)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, block_size: int | None = None
    ) -> "EmbeddingIndex":
        """Opens an embedding file without reading it whole: it may exceed memory.

        Args:
          path: an ``.npz`` embedding file, as :meth:`save` writes it. One that is
            compressed can only be read whole.
          block_size: rows compared at once.

        Raises:
          InputError: as :func:`hyperface_jax.load_embeddings`; rows that are not unit
            are found when they are read.
        """
        rows, about = embedding_file.map_embeddings(path)
        index = cls(rows, block_size=block_size)
        index.about = about
        return index

    def save(self, path: str | os.PathLike[str], **about: Any) -> None:
        """Writes the embeddings to an embedding file.

        Args:
          path: the file.
          **about: ``kind`` (by default ``"gallery"``), ``labels``, ``names``, ``model``
            of :func:`hyperface_jax.save_embeddings`.
        """
        about = {"kind": "gallery", **about}
        embedding_file.save_embeddings(path, np.asarray(self.embeddings), **about)

    def search(self, queries: Any, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Finds the ``k`` rows nearest to each query.

        Where many devices are in use, each answers its share of the queries.

        Args:
          queries: ``[q, d]``, unit rows.
          k: how many, at least 1 and at most as many as there are rows.

        Returns:
          Cosines ``[q, k]`` float32, falling, and rows ``[q, k]`` int64.

        Raises:
          InputError: malformed queries, another dimension, or ``k`` out of range.
        """
        queries = self._check(queries)
        checks.whole_number(k, "k", 1, checks.MOST)
        if k > len(self):
            raise InputError(f"k is {k}, but the index holds only {len(self)} rows")
        cosines = np.full((len(queries), k), tiles.MASKED, np.float32)
        rows = np.zeros((len(queries), k), np.int64)
        find = sharded.jit(functools.partial(_top_k_of_shares, block_size=self._block))
        for first, piece in self._pieces():
            for part in _parts(len(queries), devices=sharded.size() or 1):
                best = cosines[part], (rows[part] - first).astype(np.int32)
                asked = sharded.put((queries[part], *best))
                found = sharded.to_host(find(asked, piece))
                # Rows of earlier pieces have negative numbers relative to this one.
                cosines[part], rows[part] = found[0], found[1] + first
        return cosines, rows

    def range_search(self, queries: Any, min_cosine: float) -> RangeResult:
        """Finds all rows at least as near as ``min_cosine`` to each query.

        Args:
          queries: ``[q, d]``, unit rows.
          min_cosine: in [-1, 1].
        """
        queries = self._check(queries)
        checks.in_range(min_cosine, "min_cosine", -1, 1)
        found = []
        for first, piece in self._pieces():
            for start in range(0, len(piece), self._block):
                block = piece[start : start + self._block]
                for part in _parts(len(queries)):
                    c = np.asarray(_cosines(queries[part], block))
                    query, row = np.nonzero(c >= min_cosine)
                    found.append(
                        (c[query, row], query + part.start, row + first + start)
                    )
        cosines, query, rows = map(np.concatenate, zip(*found, strict=True))
        order = np.lexsort((rows, -cosines, query))
        counts = np.bincount(query, minlength=len(queries))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return RangeResult(offsets, cosines[order], rows[order].astype(np.int64))

    def duplicates(self, min_cosine: float) -> tuple[np.ndarray, np.ndarray]:
        """Finds all pairs of rows at least as near to each other as ``min_cosine``.

        Args:
          min_cosine: in [-1, 1].

        Returns:
          Pairs ``[p, 2]`` int64, the lower row first, in rising order, and their
          cosines ``[p]`` float32.
        """
        pairs, cosines = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
        for first, piece in self._pieces():
            near = self.range_search(piece, min_cosine)
            query = first + np.repeat(np.arange(len(piece)), np.diff(near.offsets))
            lower = query < near.rows
            pairs.append(np.stack([query, near.rows], axis=1)[lower])
            cosines.append(near.cosines[lower])
        pair, cosine = np.concatenate(pairs), np.concatenate(cosines)
        order = np.lexsort((pair[:, 1], pair[:, 0]))
        return pair[order], cosine[order]

    def _check(self, queries: Any) -> np.ndarray:
        queries = checks.unit_rows(queries, "queries")
        checks.same_dimension(queries, self.embeddings, "queries and embeddings")
        return queries

    def _pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """The rows piece by piece, with the number of the first of each."""
        for first in range(0, len(self), ROWS_AT_ONCE):
            piece = self.embeddings[first : first + ROWS_AT_ONCE]
            if self._on_disk:
                piece = checks.unit_rows(piece, f"{self._name} from row {first}")
            yield first, piece


def _parts(queries: int, devices: int = 1) -> list[slice]:
    at_once = _QUERIES_AT_ONCE * devices
    return [
        slice(start, min(start + at_once, queries))
        for start in range(0, queries, at_once)
    ]


_cosines = jax.jit(tiles.cosines)


def _top_k_of_shares(
    asked: tuple[jax.Array, jax.Array, jax.Array], rows: jax.Array, *, block_size: int
) -> tuple[jax.Array, jax.Array]:
    """:func:`_top_k`, each device for its share of what is ``asked``."""

    def share(asked: tuple, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        queries, *best = asked
        return _top_k(queries, rows, *best, block_size)

    if sharded.size() is None:
        return share(asked, rows)
    return ring.over_devices(share, (asked,), (rows,), count=len(asked[0]))


@functools.partial(jax.jit, static_argnums=4)
def _top_k(
    queries: jax.Array,
    rows: jax.Array,
    cosine: jax.Array,
    row: jax.Array,
    block_size: int,
) -> tuple[jax.Array, jax.Array]:
    """Merges the best of ``rows`` into the best so far, ``cosine`` and ``row``."""
    # Whole blocks, then the rest as it is: no copy, and no padding to mask.
    whole = len(rows) // block_size
    blocks = rows[: whole * block_size].reshape(whole, block_size, rows.shape[1])
    starts = jnp.arange(whole, dtype=jnp.int32) * block_size
    rest = rows[whole * block_size :], jnp.int32(whole * block_size)

    def visit(best: tuple, tile: tuple) -> tuple[tuple, None]:
        block, start = tile
        c = tiles.cosines(queries, block)
        padding = [(0, 0), (0, -len(block) % _GROUP)]
        c = jnp.pad(c, padding, constant_values=tiles.MASKED)
        groups = c.reshape(len(c), -1, _GROUP)
        k = best[0].shape[1]
        found, place = _best_of_groups(groups, k)
        # Earlier findings are lower rows and come first, so they win ties.
        cosine = jnp.concatenate([best[0], found], axis=1)
        row = jnp.concatenate([best[1], start + place], axis=1)
        cosine, kept = jax.lax.top_k(cosine, k)
        return (cosine, jnp.take_along_axis(row, kept, axis=1)), None

    best, _ = jax.lax.scan(visit, (cosine, row), (blocks, starts))
    return visit(best, rest)[0] if len(rest[0]) else best


def _best_of_groups(groups: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """The candidates ``[q, groups * 16]`` among which the ``k`` best are, in order.

    An element among the ``k`` best can't be in a group that ``k`` groups precede in the
    order of falling maximum and rising number: each would hold a better element.
    """
    count = min(k, groups.shape[1])
    _, group = jax.lax.top_k(jnp.max(groups, axis=2), count)
    group = jnp.sort(group, axis=1)
    cosine = jnp.take_along_axis(groups, group[:, :, None], axis=1)
    within = jnp.arange(_GROUP, dtype=jnp.int32)
    place = group[:, :, None] * _GROUP + within[None, None, :]
    shape = (len(groups), count * _GROUP)
    return cosine.reshape(shape), place.reshape(shape)
