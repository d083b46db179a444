"""What surrounds the references: a gallery, references that stay, people enrolled."""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from hyperface_jax import checks
from hyperface_jax.neighbours import gallery_cache, ring, similarity
from hyperface_jax.neighbours.gallery_cache import NearestGallery
from hyperface_jax.neighbours.precision import FLOAT32, Precision


class Problem(NamedTuple):
    """The arrays of a packing problem that do not move, NumPy's or on devices.

    Attributes:
      gallery: ``[m, d]``, unit rows: where faces live; or None, when nothing pulls.
      fixed: ``[f, d]``, unit rows: references of an earlier set, to keep away from as
        from any other reference; ``f`` may be 0.
      enrolled: ``[e, d]``, unit rows: real people, whom no reference may resemble by
        more than a given cosine; ``e`` may be 0.
    """

    gallery: Any | None
    fixed: Any
    enrolled: Any

    @classmethod
    def beside(
        cls, x: Any, gallery: Any, *, fixed: Any = None, enrolled: Any = None
    ) -> "Problem":
        """Checks the arrays of a caller and builds the problem, of NumPy arrays.

        Args:
          x: ``[n, d]`` float32, unit rows, the references; called ``initial``.
          gallery: ``[m, d]``, unit rows, or None.
          fixed: ``[f, d]``, unit rows, or None.
          enrolled: ``[e, d]``, unit rows, or None.

        Raises:
          InputError: malformed rows, or dimensions that differ.
        """

        def checked(array: Any, name: str) -> np.ndarray | None:
            if array is None:
                return None
            array = checks.unit_rows(array, name)
            checks.same_dimension(x, array, f"initial and {name}")
            return array

        gallery = checked(gallery, "gallery")
        fixed, enrolled = checked(fixed, "fixed"), checked(enrolled, "enrolled")
        nobody = np.zeros((0, x.shape[1]), np.float32)
        return cls(
            gallery,
            nobody if fixed is None else fixed,
            nobody if enrolled is None else enrolled,
        )


def start_near_gallery(
    x: jax.Array, problem: Problem, *, block_size: int | None
) -> NearestGallery:
    """Searches the gallery row nearest to each reference ``[n, d]``, if any pulls."""
    if problem.gallery is None:
        return gallery_cache.unknown(x)
    return gallery_cache.start(x, problem.gallery, block_size=block_size)


def pull_of_gallery(
    known: NearestGallery, x: jax.Array, problem: Problem, *, block_size: int | None
) -> tuple[NearestGallery, jax.Array]:
    """Finds the gallery row that pulls each reference.

    Args:
      known: of :func:`start_near_gallery` or the previous call.
      x: ``[n, d]``, unit rows.
      problem: holds the gallery.
      block_size: side of the tiles of cosines; None takes what suits the device.

    Returns:
      ``known`` up to date, and ``[n, d]``: the nearest gallery rows, zeros without a
      gallery.
    """
    if problem.gallery is None:
        return known, jnp.zeros_like(x)
    known = gallery_cache.refresh(known, x, problem.gallery, block_size=block_size)
    return known, ring.take(problem.gallery, known.row)


def nearest_reference(
    x: jax.Array,
    fixed: jax.Array,
    *,
    block_size: int | None,
    precision: Precision = FLOAT32,
) -> tuple[jax.Array, jax.Array]:
    """Finds for each reference the nearest other one, moving or fixed.

    Args:
      x: ``[n, d]``, unit rows.
      fixed: ``[f, d]``, unit rows.
      block_size: side of the tiles of cosines; None takes what suits the device.
      precision: of the products.

    Returns:
      Cosines ``[n]`` and rows ``[n]`` of ``concatenate([x, fixed])``.
    """
    search = {"block_size": block_size, "precision": precision}
    cosine, row = similarity.nearest_other(x, **search)
    return _or_fixed(x, fixed, cosine, row, len(x), **search)


def closest_references(
    x: jax.Array,
    fixed: jax.Array,
    *,
    block_size: int | None,
    precision: Precision = FLOAT32,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Finds the closest pair of references, at least one of which moves.

    Cheaper than :func:`nearest_reference`: only for this pair is it found out who it
    is.

    Args:
      x: ``[n, d]``, unit rows.
      fixed: ``[f, d]``, unit rows.
      block_size: side of the tiles of cosines; None takes what suits the device.
      precision: of the products.

    Returns:
      Cosines ``[n]`` of each reference to its nearest, and the pair ``[1]``, ``[1]``:
      a row of ``x`` and one of ``concatenate([x, fixed])``.
    """
    search = {"block_size": block_size, "precision": precision}
    cosine = similarity.nearest_cosine(x, **search)
    cosine, _ = _or_fixed(x, fixed, cosine, jnp.zeros(len(x), int), 0, **search)
    row = jnp.argmax(cosine)[None]
    _, other = nearest_reference_of(row, x, fixed, **search)
    return cosine, row, other


def nearest_reference_of(
    rows: jax.Array,
    x: jax.Array,
    fixed: jax.Array,
    *,
    block_size: int | None,
    precision: Precision = FLOAT32,
) -> tuple[jax.Array, jax.Array]:
    """Like :func:`nearest_reference`, for the rows ``rows`` ``[b]`` of ``x`` only."""
    batch = ring.take(x, rows)
    search = {"block_size": block_size, "precision": precision}
    found = similarity.nearest(batch, x, exclude=rows, **search)
    return _or_fixed(batch, fixed, found.cosine, found.row, len(x), **search)


def references_at(x: jax.Array, fixed: jax.Array, index: jax.Array) -> jax.Array:
    """Rows ``index`` ``[b]`` of ``concatenate([x, fixed])``, which is never made."""
    chex.assert_rank((x, fixed, index), (2, 2, 1))
    chex.assert_equal_shape_suffix((x, fixed), 1)
    if not len(fixed):
        return ring.take(x, index)
    moving = ring.take(x, jnp.minimum(index, len(x) - 1))
    staying = ring.take(fixed, jnp.maximum(index - len(x), 0))
    return jnp.where((index < len(x))[:, None], moving, staying)


def _or_fixed(
    x: jax.Array,
    fixed: jax.Array,
    cosine: jax.Array,
    row: jax.Array,
    first_fixed: int,
    **search: Any,
) -> tuple[jax.Array, jax.Array]:
    if not len(fixed):
        return cosine, row
    found = similarity.nearest(x, fixed, **search)
    nearer = found.cosine > cosine
    return (
        jnp.where(nearer, found.cosine, cosine),
        jnp.where(nearer, found.row + first_fixed, row),
    )
