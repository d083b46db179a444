"""What hyperface-capacity does: measures case after case, keeps and prints the rows."""

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from hyperface_jax import files
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
        (threshold, case, _limit(threshold, case, spread, gallery, values))
        for threshold in thresholds
        for case, spread in spreads.items()
    ]
    inputs = fingerprint_of(
        values, inputs=("gallery", "spread_from"), leave_out=("output",)
    )
    rows = _measured_before(inputs, values)
    for threshold, case, limit in limits[len(rows) :]:
        found = _measure(
            gallery, limit, config, values, f"threshold {threshold:g}, {case}"
        )
        rows.append(_record(found, threshold, case, spreads[case], values))
        record = {
            "capacity": rows,
            "complete": len(rows) == len(limits),
            "inputs": inputs,
            "created_with": provenance(settings_of(values)),
        }
        files.write_json(values.output, record)
    _print_table(rows)
    print(f"{values.output}: {len(rows)} capacities")


def _measured_before(
    inputs: dict[str, Any], values: flags.FlagValues
) -> list[dict[str, Any]]:
    """The rows that an interrupted run of this very command has written."""
    if not files.was_written(values.output):
        return []
    try:
        with open(values.output, encoding="utf-8") as file:
            record = json.load(file)
        found, rows = record["inputs"], record["capacity"]
        if not isinstance(found, dict) or any(_PRINTED - row.keys() for row in rows):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f"{values.output} exists and isn't of this command; move it"
        ) from None
    if found != inputs:
        changed = [name for name in inputs if found.get(name) != inputs[name]]
        raise InputError(
            f"{values.output} exists and is of other settings ({', '.join(changed)}); "
            "choose another --output, or remove it"
        )
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


def _limit(
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
    limit: float | None,
    config: PackingConfig,
    values: flags.FlagValues,
    name: str,
) -> Capacity:
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
            limit,
            config,
            labels=gallery.labels,
            min_gallery_cosine=values.min_gallery_cosine,
            max_identities=values.max_identities,
            on_trial=on_trial,
            on_progress=on_progress,
        )


def _record(
    found: Capacity,
    threshold: float,
    case: str,
    spread: float,
    values: flags.FlagValues,
) -> dict[str, Any]:
    return {
        "threshold": threshold,
        "case": case,
        "spread_degrees": spread,
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
