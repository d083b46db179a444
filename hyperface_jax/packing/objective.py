r"""The packing objective: far from each other, near the gallery.

For references :math:`x_1 … x_n` and a gallery :math:`g_1 … g_m`, unit rows, with the
cosine distance :math:`d(x, y) = 1 - x · y`,

.. math:: J = -\min_{i ≠ j} d(x_i, x_j) + α \frac1n \sum_i \min_k d(x_i, g_k)

or, with the reduction ``mean_nearest``, the mean over i of the distance to the nearest
other reference in place of the minimum. Smaller is better (Shahreza & Marcel, 2025).
"""

import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from hyperface_jax import checks
from hyperface_jax.devices import sharded
from hyperface_jax.embeddings.conversion import as_array
from hyperface_jax.embeddings.rows import check_embeddings
from hyperface_jax.errors import InputError
from hyperface_jax.neighbours import hypersphere, ring, similarity
from hyperface_jax.packing.config import REDUCTIONS
from hyperface_jax.packing.problem import nearest_reference


class Terms(NamedTuple):
    """The parts of the objective.

    Attributes:
      objective: ``J``.
      max_cosine: the largest cosine between two references.
      mean_nearest_cosine: the mean over references of the cosine to the nearest other.
      regularization: the mean cosine distance to the nearest gallery row.
    """

    objective: Any
    max_cosine: Any
    mean_nearest_cosine: Any
    regularization: Any


def combine(
    max_cosine: Any,
    mean_nearest_cosine: Any,
    regularization: Any,
    *,
    regularization_weight: float,
    reduction: str,
) -> Terms:
    """The objective from its parts."""
    cosine = max_cosine if reduction == "min" else mean_nearest_cosine
    objective = cosine - 1 + regularization_weight * regularization
    return Terms(objective, max_cosine, mean_nearest_cosine, regularization)


def terms_of_pairs(
    rows: jax.Array,
    others: jax.Array,
    gallery_cosine: jax.Array,
    *,
    regularization_weight: float,
    reduction: str,
) -> Terms:
    """The objective once the nearest rows are known; differentiable.

    A minimum's gradient is the gradient of the pair that attains it, so once the pairs
    are selected only their ``n`` products enter: the backward pass is a gather and a
    scatter of rows, not another ``n × n`` product. Where two pairs tie exactly, this
    is the gradient of one of them.

    Args:
      rows: ``[p, d]``, unit rows: all references, or for ``min`` at least one of the
        closest pair.
      others: ``[p, d]``, the nearest other reference of each.
      gallery_cosine: ``[n]``, of all references to their nearest gallery rows.
      regularization_weight: ``α``, at least 0.
      reduction: ``"min"`` or ``"mean_nearest"``.
    """
    chex.assert_rank((rows, gallery_cosine), (2, 1))
    chex.assert_equal_shape((rows, others))
    # A maximum shares its gradient between ties: both ends of the closest pair tie,
    # but as the pair is the same the gradient is, too.
    cosine = jnp.sum(rows * others, axis=1)
    return combine(
        jnp.max(cosine),
        jnp.mean(cosine),
        jnp.mean(1 - gallery_cosine),
        regularization_weight=regularization_weight,
        reduction=reduction,
    )


def packing_objective(
    x: jax.Array,
    gallery: jax.Array,
    *,
    regularization_weight: float = 0.5,
    reduction: str = "min",
    block_size: int | None = None,
) -> Terms:
    """Evaluates the objective exactly, in blocks; differentiable in ``x``.

    Args:
      x: ``[n, d]``, rows of any length but zero, ``n >= 2``.
      gallery: ``[m, d]``, unit rows.
      regularization_weight: ``α``, at least 0.
      reduction: ``"min"`` or ``"mean_nearest"``.
      block_size: side of the tiles of cosines; None takes what suits the device.

    Returns:
      The terms, scalars.

    Raises:
      InputError: arrays of another rank or dtype, dimensions that differ, or a setting
        out of range; and, where values are known, not being traced, rows that are not
        finite or zero, or a gallery of rows that are not unit.
    """
    x, gallery = (
        _checked(x, "x", unit=False, min_rows=2),
        _checked(gallery, "gallery", unit=True),
    )
    checks.same_dimension(x, gallery, "x and gallery")
    if not isinstance(regularization_weight, jax.Array):
        checks.in_range(regularization_weight, "regularization_weight", 0, 1e6)
    checks.one_of(reduction, "reduction", REDUCTIONS)
    checks.block_size(block_size)
    x = hypersphere.normalize_rows(x)
    fixed = jax.lax.stop_gradient(x)
    other = similarity.nearest_other(fixed, block_size=block_size)[1]
    pull = similarity.nearest(fixed, gallery, block_size=block_size).row
    return terms_of_pairs(
        x,
        ring.take(x, other),
        jnp.sum(x * ring.take(gallery, pull), axis=1),
        regularization_weight=regularization_weight,
        reduction=reduction,
    )


def _checked(array: Any, name: str, *, unit: bool, min_rows: int = 1) -> jax.Array:
    """Checks rows as far as they are known: traced ones have a shape and type alone."""
    known = not isinstance(array, jax.Array) or (
        not isinstance(array, jax.core.Tracer) and array.is_fully_addressable
    )
    rows = as_array(array, name) if known else array
    if rows.ndim != 2 or not jnp.issubdtype(rows.dtype, jnp.floating):
        raise InputError(
            f"{name}: {rows.dtype} {rows.shape}, expected rows [n, d] of floats"
        )
    if len(rows) < min_rows or not rows.shape[1]:
        raise InputError(f"{name}: shape {rows.shape}, needs at least {min_rows} rows")
    if known and unit:
        check_embeddings(rows, name)
    elif known:
        with np.errstate(over="ignore"):  # What is beyond float32 is refused below.
            lengths = np.linalg.norm(rows.astype(np.float32), axis=1)
        bad = ~(np.isfinite(lengths) & (lengths > 0))
        if bad.any():
            raise InputError(f"{name}: row {bad.argmax()} is zero or not finite")
    return array if isinstance(array, jax.Array) else jnp.asarray(rows)


def measure(
    x: np.ndarray,
    gallery: np.ndarray | None,
    *,
    fixed: np.ndarray | None = None,
    regularization_weight: float,
    reduction: str,
    block_size: int | None = None,
) -> tuple[Terms, np.ndarray, np.ndarray]:
    """Evaluates the objective for a report, from scratch, in double precision.

    The nearest rows are found in float32; their cosines are then taken in float64.

    Args:
      x: ``[n, d]`` float32, unit rows.
      gallery: ``[m, d]`` float32, unit rows, or None: the regulariser is then 0.
      fixed: ``[f, d]`` float32, unit rows that count as other references, or None.
      regularization_weight: ``α``.
      reduction: ``"min"`` or ``"mean_nearest"``.
      block_size: side of the tiles of cosines; None takes what suits the device.

    Returns:
      The terms as floats, and the cosines of each row to the nearest other row and to
      the nearest gallery row, ``[n]`` float64 each (the latter 1 without a gallery).
    """
    others = x if fixed is None else np.concatenate([x, fixed])
    of_others = functools.partial(nearest_reference, block_size=block_size)
    _, row = sharded.from_host(of_others)(x, others[len(x) :])
    nearest_cosine = _double_cosines(x, others[row])
    gallery_cosine = np.ones(len(x))
    if gallery is not None:
        nearest = functools.partial(similarity.nearest, block_size=block_size)
        row = sharded.from_host(nearest)(x, gallery).row
        gallery_cosine = _double_cosines(x, gallery[row])
    terms = combine(
        float(nearest_cosine.max()),
        float(nearest_cosine.mean()),
        float(np.mean(1 - gallery_cosine)),
        regularization_weight=regularization_weight,
        reduction=reduction,
    )
    return terms, nearest_cosine, gallery_cosine


def _double_cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosines between corresponding rows, in double precision."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.sum(a * b, axis=1) / norms
