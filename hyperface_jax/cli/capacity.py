"""Measures how many identities a gallery region holds that a verifier can tell apart.

Example:
  hyperface-capacity --gallery=gallery.npz --threshold=0.3,0.4 --spread=30 \\
      --output=capacity.json

Identities are packed near the gallery, more and more of them, until images of two
would be confused at the threshold. Images stray from their identity by the spread,
given as an angle or measured from embeddings of several images of each identity. Prints
for each threshold how many people of the gallery keep the limit as they are, how many
identities were found by packing, and how many no packing can pass; a cosine up to 1e-4
beyond the limit passes in all three. An interrupted command keeps the rows it finished.
"""

import json
import math
import os
import sys
from typing import Any

import numpy as np
from absl import flags

from hyperface_jax import files
from hyperface_jax.capacity import LARGEST_LIMIT, Capacity, measure_capacity
from hyperface_jax.cli.fingerprint import fingerprint_of
from hyperface_jax.commands import (
    InputError,
    progress,
    provenance,
    require_flags,
    run_command,
    settings_of,
)
from hyperface_jax.embedding_file import EmbeddingFile, load_embeddings
from hyperface_jax.packing_config import PackingConfig
from hyperface_jax.spread import measure_spread, typical_cosine, worst_case_cosine

FLAGS = flags.FlagValues()
_CASES = ("worst", "typical")
_DEFAULTS = PackingConfig()

flags.DEFINE_string(
    "gallery", None, "Embedding file of the gallery (.npz).", flag_values=FLAGS
)
flags.DEFINE_list(
    "threshold",
    None,
    "Cosine above which the verifier accepts a pair as one person, in (-1, 1); several "
    "with commas between.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "spread",
    None,
    "How far images stray from their identity: an angle in degrees.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "spread_from",
    None,
    "Instead of --spread: an embedding file (.npz) with labels, several images of each "
    "identity, to measure the spread of.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "case",
    "both",
    ["both", *_CASES],
    "worst: no images within the spread are confused, whatever their direction. "
    "typical: images off in random directions are, at most at the false match rate.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "false_match_rate",
    1e-3,
    "The typical case: share of image pairs of two identities that may be accepted.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "min_gallery_cosine",
    None,
    "Where the region ends: identities less near than this to every gallery row don't "
    "count. By default all count, and the bound is that of the whole sphere.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "max_identities", 10_000, "The largest number to try.", flag_values=FLAGS
)
flags.DEFINE_float(
    "regularization_weight",
    _DEFAULTS.regularization_weight,
    "How strongly identities are held near the gallery; 0 lets them go anywhere.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "num_iterations",
    None,
    "Of each packing, at most; annealed 150 to 5000 by default.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "time_limit", None, "Seconds after which a packing stops.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "block_size", None, "Side of the tiles of cosines in memory.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "seed", _DEFAULTS.seed, "Of the choice of starting rows.", flag_values=FLAGS
)
flags.DEFINE_string("output", None, "JSON file to write.", flag_values=FLAGS)


def main() -> None:
    require_flags(FLAGS, "gallery", "threshold", "output")
    files.check_output(FLAGS.output)
    config = PackingConfig(
        num_iterations=FLAGS.num_iterations,
        time_limit=FLAGS.time_limit,
        regularization_weight=FLAGS.regularization_weight,
        block_size=FLAGS.block_size,
        seed=FLAGS.seed,
    )
    gallery = load_embeddings(FLAGS.gallery)
    spreads = _spreads(gallery)
    # All limits first, so that a flag out of range is refused before any packing.
    limits = [
        (threshold, case, _limit(threshold, case, spread, gallery))
        for threshold in _thresholds()
        for case, spread in spreads.items()
    ]
    inputs = fingerprint_of(
        FLAGS, inputs=("gallery", "spread_from"), leave_out=("output",)
    )
    rows = _measured_before(inputs)
    for threshold, case, limit in limits[len(rows) :]:
        found = _measure(gallery, limit, config, f"threshold {threshold:g}, {case}")
        rows.append(_record(found, threshold, case, spreads[case]))
        record = {
            "capacity": rows,
            "complete": len(rows) == len(limits),
            "inputs": inputs,
            "created_with": provenance(settings_of(FLAGS)),
        }
        files.write_json(FLAGS.output, record)
    _print_table(rows)
    print(f"{FLAGS.output}: {len(rows)} capacities")


def _measured_before(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that an interrupted run of this very command has written."""
    if not os.path.exists(FLAGS.output):
        return []
    try:
        with open(FLAGS.output, encoding="utf-8") as file:
            record = json.load(file)
        found, rows = record["inputs"], record["capacity"]
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{FLAGS.output} exists and isn't of this command; move it"
        ) from None
    if found != inputs:
        changed = [name for name in inputs if found.get(name) != inputs[name]]
        raise InputError(
            f"{FLAGS.output} exists and is of other settings ({', '.join(changed)}); "
            "choose another --output, or remove it"
        )
    return rows


def _thresholds() -> list[float]:
    try:
        return [float(text) for text in FLAGS.threshold]
    except ValueError as error:
        raise InputError(f"--threshold: {error}; give cosines such as 0.3") from None


def _spreads(gallery: EmbeddingFile) -> dict[str, float]:
    """The angle of each case asked for, in degrees."""
    cases = _CASES if FLAGS.case == "both" else (FLAGS.case,)
    if (FLAGS.spread is None) == (not FLAGS.spread_from):
        raise InputError(
            "give one of --spread (an angle in degrees) and --spread_from (an "
            "embedding file to measure it on)"
        )
    if not FLAGS.spread_from:
        return dict.fromkeys(cases, FLAGS.spread)
    file = load_embeddings(FLAGS.spread_from, model=gallery.metadata.get("model"))
    if file.labels is None:
        raise InputError(
            f"{FLAGS.spread_from}: has no labels, so whose images these are is unknown"
        )
    spread = measure_spread(file.embeddings, file.labels)
    print(
        f"{FLAGS.spread_from}: images of {spread.num_identities} identities are "
        f"{spread.typical:.1f} degrees off their identity, and 95 % within "
        f"{spread.worst:.1f} of the others' mean"
    )
    # Beyond a right angle from its own identity an image says nothing of it.
    return {case: min(getattr(spread, case), 90.0) for case in cases}


def _limit(
    threshold: float, case: str, spread: float, gallery: EmbeddingFile
) -> float | None:
    if case == "worst":
        limit = worst_case_cosine(threshold, spread)
    else:
        limit = typical_cosine(
            threshold,
            spread,
            gallery.embeddings.shape[1],
            false_match_rate=FLAGS.false_match_rate,
        )
    if limit is not None and limit > LARGEST_LIMIT:
        raise InputError(
            f"threshold {threshold:g} with a spread of {spread:g} degrees tells even "
            f"identities at cosine {limit:g} apart ({case} case), so nothing limits "
            "how many there are; give another --threshold or --spread"
        )
    return limit


def _measure(
    gallery: EmbeddingFile, limit: float | None, config: PackingConfig, name: str
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
            min_gallery_cosine=FLAGS.min_gallery_cosine,
            max_identities=FLAGS.max_identities,
            on_trial=on_trial,
            on_progress=on_progress,
        )


def _record(
    found: Capacity, threshold: float, case: str, spread: float
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
        "more_were_not_tried": FLAGS.max_identities <= found.identities < found.bound,
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


def run() -> None:
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
