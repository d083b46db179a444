"""What hyperface-capacity does: measures case after case, keeps and prints the rows."""

import math
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from hyperface_jax import artifacts, files
from hyperface_jax.analysis.capacity import LARGEST_LIMIT, Capacity, measure_capacity
from hyperface_jax.analysis.intra_class import (
    measure_spread,
    typical_cosine,
    worst_case_cosine,
)
from hyperface_jax.cli.fingerprint import fingerprint_of
from hyperface_jax.commands import progress, provenance, settings_of
from hyperface_jax.embeddings.embedding_file import EmbeddingFile, load_embeddings
from hyperface_jax.errors import InputError
from hyperface_jax.packing.config import PackingConfig

_PRINTED = {
    "threshold",
    "case",
    "spread_degrees",
    "max_reference_cosine",
    "gallery_identities",
    "identities",
    "bound",
    "more_were_not_tried",
    "mean_gallery_cosine",
}


class _Limit(NamedTuple):
    """A row of the table: the largest cosine that two identities may have.

    Attributes:
      threshold: cosine above which the verifier accepts a pair.
      case: ``"worst"`` or ``"typical"``.
      spread: angle between an image and its identity, in degrees.
      cosine: the limit; None where nothing tells identities apart.
    """

    threshold: float
    case: str
    spread: float
    cosine: float | None


def run_capacity(
    config: PackingConfig,
    thresholds: Sequence[float],
    cases: Sequence[str],
    values: flags.FlagValues,
) -> None:
    """Measures the capacities that the parsed flags ``values`` ask for.

    Args:
      config: how to pack.
      thresholds: cosines above which the verifier accepts a pair.
      cases: of ``"worst"`` and ``"typical"``.
      values: the flags of hyperface-capacity.

    Raises:
      InputError: what a file or a flag is refused for.
    """
    gallery = load_embeddings(values.gallery)
    spreads = _spreads(gallery, cases, values)
    # All limits first, so that a flag out of range is refused before any packing.
    limits = [
        _Limit(
            threshold,
            case,
            spread,
            _largest_cosine(threshold, case, spread, gallery, values),
        )
        for threshold in thresholds
        for case, spread in spreads.items()
    ]
    inputs = fingerprint_of(
        values, inputs=("gallery", "spread_from"), leave_out=("output",)
    )
    output = artifacts.Output(
        values.output, lambda: _measured_before(inputs, values, len(limits))
    )
    rows = output.make(lambda: _measure_all(gallery, limits, config, values, inputs))
    _print_table(rows)
    print(f"{values.output}: {len(rows)} capacities")


def _measure_all(
    gallery: EmbeddingFile,
    limits: Sequence[_Limit],
    config: PackingConfig,
    values: flags.FlagValues,
    inputs: dict[str, Any],
) -> list[dict[str, Any]]:
    """Measures what is still missing, and writes after each row; returns all rows."""
    rows = _read_rows(inputs, values)
    for limit in limits[len(rows) :]:
        found = _measure(gallery, limit, config, values)
        rows.append(_record(found, limit, values))
        record = {
            "capacity": rows,
            "complete": len(rows) == len(limits),
            "inputs": inputs,
            "created_with": provenance(settings_of(values)),
        }
        files.write_json(values.output, record)
    return rows


def _measured_before(
    inputs: dict[str, Any], values: flags.FlagValues, count: int
) -> list[dict[str, Any]] | None:
    """All ``count`` rows that this very command has written, or None."""
    rows = _read_rows(inputs, values)
    return rows if len(rows) == count else None


def _read_rows(
    inputs: dict[str, Any], values: flags.FlagValues
) -> list[dict[str, Any]]:
    """The rows that this very command, perhaps interrupted, has written."""
    if not files.was_written(values.output):
        return []
    try:
        record = artifacts.read_json(values.output)
        found, rows = record["inputs"], record["capacity"]
        if not isinstance(found, dict) or any(_PRINTED - row.keys() for row in rows):
            raise TypeError
    except (InputError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{values.output} exists and isn't of this command; move it"
        ) from None
    artifacts.check_same_settings(values.output, found, inputs)
    return rows


def _spreads(
    gallery: EmbeddingFile, cases: Sequence[str], values: flags.FlagValues
) -> dict[str, float]:
    """The angle of each case asked for, in degrees."""
    if not values.spread_from:
        return dict.fromkeys(cases, values.spread)
    file = load_embeddings(values.spread_from, model=gallery.metadata.get("model"))
    if file.labels is None:
        raise InputError(
            f"{values.spread_from}: has no labels, so whose images these are is unknown"
        )
    spread = measure_spread(file.embeddings, file.labels)
    print(
        f"{values.spread_from}: images of {spread.num_identities} identities are "
        f"{spread.typical:.1f} degrees off their identity, and 95 % within "
        f"{spread.worst:.1f} of the others' mean"
    )
    # Beyond a right angle from its own identity an image says nothing of it.
    return {case: min(getattr(spread, case), 90.0) for case in cases}


def _largest_cosine(
    threshold: float,
    case: str,
    spread: float,
    gallery: EmbeddingFile,
    values: flags.FlagValues,
) -> float | None:
    if case == "worst":
        limit = worst_case_cosine(threshold, spread)
    else:
        limit = typical_cosine(
            threshold,
            spread,
            gallery.embeddings.shape[1],
            false_match_rate=values.false_match_rate,
        )
    if limit is not None and limit > LARGEST_LIMIT:
        raise InputError(
            f"threshold {threshold:g} with a spread of {spread:g} degrees tells even "
            f"identities at cosine {limit:g} apart ({case} case), so nothing limits "
            "how many there are; give another --threshold or --spread"
        )
    return limit


def _measure(
    gallery: EmbeddingFile,
    limit: _Limit,
    config: PackingConfig,
    values: flags.FlagValues,
) -> Capacity:
    name = f"threshold {limit.threshold:g}, {limit.case}"
    with progress(description=name, unit="packing") as bar:

        def on_trial(n: int, most: int) -> None:
            bar.set_postfix_str(f"packed {n}, most found {most}", refresh=False)
            bar.update()

        def on_progress(iteration: int, terms: Any) -> None:
            bar.set_postfix_str(
                f"iteration {iteration}, max cosine {terms.max_cosine:.4f}",
                refresh=sys.stderr.isatty(),
            )

        return measure_capacity(
            gallery.embeddings,
            limit.cosine,
            config,
            labels=gallery.labels,
            min_gallery_cosine=values.min_gallery_cosine,
            max_identities=values.max_identities,
            on_trial=on_trial,
            on_progress=on_progress,
        )


def _record(found: Capacity, limit: _Limit, values: flags.FlagValues) -> dict[str, Any]:
    return {
        "threshold": limit.threshold,
        "case": limit.case,
        "spread_degrees": limit.spread,
        "max_reference_cosine": found.max_reference_cosine,
        "gallery_identities": found.gallery_identities,
        "identities": found.identities,
        # JSON has no word for infinity.
        "bound": found.bound if math.isfinite(found.bound) else None,
        "bound_source": found.bound_source,
        "more_were_not_tried": values.max_identities <= found.identities < found.bound,
        "mean_gallery_cosine": float(np.mean(found.gallery_cosine)),
        "min_gallery_cosine": float(np.min(found.gallery_cosine)),
        "trials": [{"packed": n, "kept": k} for n, k in found.trials.items()],
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    titles = "threshold", "case", "spread", "limit", "gallery", "found", "bound", "near"
    print("  ".join(f"{title:>9}" for title in titles))
    for row in rows:
        limit, bound = row["max_reference_cosine"], row["bound"]
        cells = (
            f"{row['threshold']:g}",
            row["case"],
            f"{row['spread_degrees']:.1f}",
            "none" if limit is None else f"{limit:.4f}",
            row["gallery_identities"],
            f"{'>= ' if row['more_were_not_tried'] else ''}{row['identities']}",
            "> 1e15" if bound is None else f"{bound:.6g}",
            f"{row['mean_gallery_cosine']:.3f}",
        )
        print("  ".join(f"{cell:>9}" for cell in cells))
