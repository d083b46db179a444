"""Packs reference embeddings: as far apart as they will go, near a gallery of faces.

Example:
  hyperface-pack --gallery=gallery.npz --num_identities=10000 --output=references.npz

Reads an embedding file, chooses where the identities start, moves them apart on the
hypersphere and writes a reference file, one row an identity, that hyperface-generate
turns into images. The file keeps the settings, the convergence and the measured
separation beside the theoretical bound.
"""

import os
import pathlib
import sys
from typing import Any

from absl import flags

from hyperface_jax import files, initialization
from hyperface_jax.algorithm2 import DISTANCES
from hyperface_jax.commands import InputError, progress, run_command, settings_of
from hyperface_jax.embedding_file import (
    EmbeddingFile,
    check_model,
    load_embeddings,
    save_embeddings,
)
from hyperface_jax.objective import REDUCTIONS
from hyperface_jax.packing import METHODS, PackingConfig, pack_embeddings
from hyperface_jax.record import packing_record

FLAGS = flags.FlagValues()
_DEFAULTS = PackingConfig()

flags.DEFINE_string(
    "gallery", None, "Embedding file of the gallery (.npz).", flag_values=FLAGS
)
flags.DEFINE_string(
    "output", None, "Reference file to write (.npz).", flag_values=FLAGS
)
flags.DEFINE_integer(
    "num_identities",
    None,
    "How many references. By default one for each identity of the gallery. Beyond that "
    "number the others start at mixtures of two identities.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "initial",
    None,
    "Embedding file whose rows the references start at, instead of gallery rows.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "method",
    _DEFAULTS.method,
    tuple(METHODS),
    "annealed: smoothed repulsion, hundreds of iterations. algorithm1: the paper's. "
    "algorithm2: the paper's on random batches, for very many identities.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "num_iterations",
    _DEFAULTS.num_iterations,
    "By default 300 for annealed, 100000 for the others.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "learning_rate",
    _DEFAULTS.learning_rate,
    "algorithm1 and 2: Adam's initial rate, by default 0.01. annealed: step length "
    "relative to the curvature, by default 1.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "decay_rate",
    _DEFAULTS.decay_rate,
    "algorithm1 and 2: factor on the learning rate every decay_every iterations.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "decay_every",
    _DEFAULTS.decay_every,
    "algorithm1 and 2: iterations between two drops of the learning rate.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "batch_size",
    _DEFAULTS.batch_size,
    "algorithm2: references drawn an iteration.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "batch_distances",
    _DEFAULTS.batch_distances,
    DISTANCES,
    "algorithm2: distances within the batch, or from the batch to all references.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "regularization_weight",
    _DEFAULTS.regularization_weight,
    "How much staying near the gallery counts against being apart; 0 ignores it.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "reduction",
    _DEFAULTS.reduction,
    REDUCTIONS,
    "What is maximised: the smallest distance, or the mean distance to the nearest.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "block_size",
    _DEFAULTS.block_size,
    "Side of the tiles of cosines in memory; by default 512.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "seed",
    _DEFAULTS.seed,
    "Of the choice of starting rows and of nudges that part equal ones.",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "overwrite", False, "Replace an output of other settings.", flag_values=FLAGS
)


def main() -> None:
    for name in ("gallery", "output"):
        if not FLAGS[name].value:
            raise InputError(f"--{name} is required; see --help")
    config = PackingConfig(**{name: FLAGS[name].value for name in vars(_DEFAULTS)})
    inputs = _fingerprint()
    if _already_packed(inputs):
        print(f"{FLAGS.output}: already packed with these settings")
        return
    gallery = load_embeddings(FLAGS.gallery)
    initial, names = _initial(gallery, config)
    with progress(
        total=config.iterations, description="packing", unit="iteration"
    ) as bar:

        def on_progress(iteration: int, terms: Any) -> None:
            bar.set_postfix_str(
                f"J {terms.objective:.4f}, max cosine {terms.max_cosine:.4f}",
                refresh=False,
            )
            bar.update(iteration - bar.n)

        result = pack_embeddings(
            initial, gallery.embeddings, config, on_progress=on_progress
        )
    record = packing_record(result, initial, gallery.embeddings)
    save_embeddings(
        FLAGS.output,
        result.embeddings,
        kind="references",
        labels=range(len(initial)),
        names=names,
        model=gallery.metadata.get("model"),
        packing={**record, "inputs": inputs},
        settings=settings_of(FLAGS),
    )
    print(
        f"{FLAGS.output}: {len(initial)} references, max cosine "
        f"{record['initial']['max_cosine']:.4f} -> {result.max_cosine:.4f} (bound "
        f"{result.bound:.4f}), objective {record['initial']['objective']:.4f} -> "
        f"{result.objective:.4f}, {result.seconds:.1f} s"
    )


def _fingerprint() -> dict[str, Any]:
    """What the output depends on: the settings and the content of the input files."""
    depends = settings_of(FLAGS)
    for name in ("output", "overwrite"):
        depends.pop(name)
    for name in ("gallery", "initial"):
        path = depends[name]
        if path is not None and not os.path.isfile(path):
            raise InputError(f"{path}: no such file; check --{name}")
        depends[name] = path and files.sha256_of(path)
    return depends


def _already_packed(inputs: dict[str, Any]) -> bool:
    if not pathlib.Path(FLAGS.output).exists() or FLAGS.overwrite:
        return False
    record = load_embeddings(FLAGS.output).metadata.get("packing") or {}
    found = record.get("inputs")
    if found == inputs:
        return True
    if found is None:
        raise InputError(f"{FLAGS.output} exists and isn't of this command; move it")
    name = next(k for k in inputs if found.get(k) != inputs[k])
    raise InputError(
        f"{FLAGS.output} exists and was packed with another {name} "
        f"({found.get(name)}, now {inputs[name]}); choose another --output, "
        "or pass --overwrite"
    )


def _initial(gallery: EmbeddingFile, config: PackingConfig) -> tuple[Any, list[str]]:
    """The rows to start at, and the name of each: of what it was."""
    if FLAGS.initial:
        start = load_embeddings(FLAGS.initial)
        check_model(
            start.metadata.get("model"), gallery.metadata.get("model"), FLAGS.initial
        )
        n = FLAGS.num_identities or len(start.embeddings)
        if n > len(start.embeddings):
            raise InputError(
                f"{FLAGS.initial}: {len(start.embeddings)} rows, --num_identities asks "
                f"for {n}; ask for fewer, or leave out --initial"
            )
        names = start.names if start.names is not None else [""] * n
        return start.embeddings[:n], list(names[:n])
    chosen = initialization.from_gallery(
        gallery.embeddings, gallery.labels, FLAGS.num_identities, config.seed
    )
    if chosen.num_mixtures:
        print(
            f"the gallery starts {len(chosen.embeddings) - chosen.num_mixtures} "
            f"references; the other {chosen.num_mixtures} start at mixtures of two",
            file=sys.stderr,
        )
    names = gallery.names
    if names is None:
        names = [f"row {row}" for row in range(len(gallery.embeddings))]
    return chosen.embeddings, [
        str(names[row]) if row >= 0 else "mixture" for row in chosen.gallery_rows
    ]


def run() -> None:
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
