"""Exact search among embeddings by cosine, in blocks."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hyperface_jax import checks, similarity
from hyperface_jax.commands import InputError

_QUERIES_AT_ONCE = 1024


class EmbeddingIndex:
    """Embeddings to be searched.

    Every row is compared with every query: results are exact, to the rounding of
    float32. Of rows at equal cosine the lower comes first.

    Args:
      embeddings: ``[n, d]``, unit rows.
      block_size: rows compared at once, at least 1; None takes 512.

    Raises:
      InputError: malformed rows or block size.
    """

    def __init__(self, embeddings: Any, *, block_size: int | None = None) -> None:
        rows = checks.unit_rows(embeddings, "embeddings")
        if block_size is not None:
            checks.in_range(block_size, "block_size", 1)
        self._block = similarity.fit_block_size(block_size, len(rows))
        self._rows = jnp.asarray(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def search(self, queries: Any, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Finds the ``k`` rows nearest to each query.

        Args:
          queries: ``[q, d]``, unit rows.
          k: how many, at least 1 and at most as many as there are rows.

        Returns:
          Cosines ``[q, k]`` float32, falling, and rows ``[q, k]`` int64.

        Raises:
          InputError: malformed queries, another dimension, or ``k`` out of range.
        """
        queries = checks.unit_rows(queries, "queries")
        checks.same_dimension(queries, self._rows, "queries and embeddings")
        checks.in_range(k, "k", 1)
        if k > len(self):
            raise InputError(f"k is {k}, but the index holds only {len(self)} rows")
        found = [
            _top_k(
                queries[start : start + _QUERIES_AT_ONCE], self._rows, k, self._block
            )
            for start in range(0, len(queries), _QUERIES_AT_ONCE)
        ]
        cosines, rows = (np.concatenate(part) for part in zip(*found, strict=True))
        return cosines, rows.astype(np.int64)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _top_k(
    queries: jax.Array, rows: jax.Array, k: int, block_size: int
) -> tuple[jax.Array, jax.Array]:
    blocks = similarity.to_blocks(rows, block_size)
    starts = jnp.arange(len(blocks), dtype=jnp.int32) * block_size

    def visit(best: tuple, tile: tuple) -> tuple[tuple, None]:
        block, start = tile
        row = start + jnp.arange(block_size, dtype=jnp.int32)
        c = similarity.cosines(queries, block)
        c = jnp.where(row < len(rows), c, similarity.MASKED)
        row = jnp.broadcast_to(row, c.shape)
        # What was found before holds lower rows and comes first: ties go to them.
        cosine = jnp.concatenate([best[0], c], axis=1)
        row = jnp.concatenate([best[1], row], axis=1)
        cosine, place = jax.lax.top_k(cosine, k)
        return (cosine, jnp.take_along_axis(row, place, axis=1)), None

    shape = (len(queries), k)
    start = jnp.full(shape, similarity.MASKED), jnp.full(shape, -1, jnp.int32)
    return jax.lax.scan(visit, start, (blocks, starts))[0]
