"""The packing record: what a reference file says about how it was packed."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from hyperface_jax import checks
from hyperface_jax.bounds import max_cosine
from hyperface_jax.errors import InputError
from hyperface_jax.packing import objective
from hyperface_jax.packing.config import PackingConfig
from hyperface_jax.packing.packing import PackingResult

_HISTORY_POINTS = 200
_HISTOGRAM_BINS = 100


def packing_record(
    result: PackingResult,
    initial: np.ndarray,
    gallery: np.ndarray | None,
    fixed: np.ndarray | None = None,
) -> dict[str, Any]:
    """Everything a report needs to show of a packing, JSON-ready.

    Args:
      result: of :func:`hyperface_jax.pack_embeddings`.
      initial: ``[n, d]``, where the references started.
      gallery: ``[m, d]`` or None.
      fixed: ``[f, d]``, the earlier references, or None.

    Returns:
      A dictionary: the settings, the figures of the result, ``initial`` (the same
      figures before), ``history`` (at most 200 points) and ``nearest_cosine_histogram``
      (``edges``, ``before``, ``after``).

    Raises:
      InputError: malformed rows, or dimensions that differ.
    """
    checks.instance_of(result, "result", PackingResult)
    config = result.config
    # The lengths of rows in files may be off by 1e-3, enough for a wrong neighbour.
    initial = checks.unit_rows(initial, "initial")
    gallery, fixed = (
        _beside(result.embeddings, rows, name)
        for rows, name in ((gallery, "gallery"), (fixed, "fixed"))
    )
    if initial.shape != result.embeddings.shape:
        raise InputError(
            f"initial has shape {initial.shape}, expected that of the result, "
            f"{result.embeddings.shape}"
        )
    before, before_cosine, _ = objective.measure(
        initial,
        gallery,
        fixed=fixed,
        regularization_weight=config.regularization_weight,
        reduction=config.reduction,
        block_size=config.block_size,
    )
    edges = np.linspace(-1.0, 1.0, 2 * _HISTOGRAM_BINS + 1)
    return {
        **_settings(config),
        "num_identities": len(result.embeddings),
        "dimension": result.embeddings.shape[1],
        "objective": result.objective,
        "max_cosine": result.max_cosine,
        "min_angle_degrees": math.degrees(math.acos(np.clip(result.max_cosine, -1, 1))),
        "mean_nearest_cosine": result.mean_nearest_cosine,
        "regularization": result.regularization,
        "mean_gallery_cosine": float(result.gallery_cosine.mean()),
        "enrolled_cosine": result.enrolled_cosine,
        "bound": result.bound,
        "gap": result.gap,
        "iterations": len(result.history["objective"]),
        "stopped": result.stopped,
        "duplicates": result.duplicates,
        "seconds": round(result.seconds, 3),
        "device": str(jax.devices()[0]),
        "initial": before._asdict(),
        "history": _thinned(result.history),
        "nearest_cosine_histogram": {
            "edges": np.round(edges, 6).tolist(),
            "before": np.histogram(np.clip(before_cosine, -1, 1), edges)[0].tolist(),
            "after": np.histogram(np.clip(result.nearest_cosine, -1, 1), edges)[
                0
            ].tolist(),
        },
    }


def _beside(embeddings: np.ndarray, rows: Any, name: str) -> np.ndarray | None:
    """Checks rows that may be missing."""
    if rows is None:
        return None
    rows = checks.unit_rows(rows, name)
    checks.same_dimension(embeddings, rows, f"result and {name}")
    return rows


def _settings(config: PackingConfig) -> dict[str, Any]:
    """The settings in use: the defaults that depend on the method filled in."""
    filled = dataclasses.replace(
        config,
        num_iterations=config.iterations,
        learning_rate=config.step_size,
        tolerance=config.least_gain,
    )
    return dataclasses.asdict(filled)


def figures_of_set(embeddings: np.ndarray, block_size: int | None) -> dict[str, Any]:
    """Largest cosine among all rows ``[n, d]`` of a set that grew, and its bound."""
    terms, _, _ = objective.measure(
        checks.unit_rows(embeddings, "embeddings"),
        None,
        regularization_weight=0.0,
        reduction="min",
        block_size=block_size,
    )
    return {
        "num_identities": len(embeddings),
        "max_cosine": terms.max_cosine,
        "bound": max_cosine.max_cosine_bound(*embeddings.shape),
    }


def _thinned(history: dict[str, np.ndarray]) -> dict[str, list[float]]:
    iterations = len(history["objective"])
    kept = np.unique(np.linspace(0, iterations - 1, _HISTORY_POINTS).astype(int))
    thinned = {name: values[kept].tolist() for name, values in history.items()}
    return {"iteration": kept.tolist(), **thinned}
