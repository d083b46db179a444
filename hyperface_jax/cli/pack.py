"""Packs reference embeddings: as far apart as they will go, near a gallery of faces.

Example:
  hyperface-pack --gallery=gallery.npz --num_identities=10000 --output=references.npz

Reads an embedding file, chooses where the identities start, moves them apart on the
hypersphere and writes a reference file, one row an identity, that hyperface-generate
turns into images. The file keeps the settings, the convergence and the measured
separation beside the theoretical bound.
"""

import contextlib
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

from absl import flags

from hyperface_jax import checks, files, processes
from hyperface_jax.cli import (
    device_flags,
    packing_flags,
    packing_output,
    packing_start,
)
from hyperface_jax.cli.fingerprint import fingerprint_of
from hyperface_jax.commands import InputError, progress, require_flags, run_command
from hyperface_jax.embedding_file import EmbeddingFile, load_embeddings
from hyperface_jax.packing import PackingResult, pack_embeddings
from hyperface_jax.packing_config import PackingConfig

FLAGS = flags.FlagValues()
_SURROUNDINGS = ("fixed", "enrolled")
_INPUTS = ("gallery", "initial", *_SURROUNDINGS)
_WITHOUT_A_SAY = ("output", "overwrite", "checkpoint_seconds", *device_flags.NAMES)

flags.DEFINE_string(
    "gallery", None, "Embedding file of the gallery (.npz).", flag_values=FLAGS
)
flags.DEFINE_string(
    "output", None, "Reference file to write (.npz).", flag_values=FLAGS
)
flags.DEFINE_integer(
    "num_identities",
    None,
    "How many new references. By default one for each identity of the gallery. Beyond "
    "that number the others start at mixtures of two identities.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "initial",
    None,
    "Embedding file whose rows the references start at, instead of gallery rows.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "fixed",
    None,
    "Reference file of an earlier set to add to: its references stay as they are, come "
    "first in the output, and the new ones keep away from them.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "enrolled",
    None,
    "Embedding file of real people whom no reference may resemble.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "balance",
    None,
    "Start references in equal shares for each group of this attribute of the gallery, "
    "such as gender, and report each group. The gallery must say who belongs to which.",
    flag_values=FLAGS,
)
flags.DEFINE_list(
    "shares",
    None,
    "With --balance: the share of each group, such as female:0.5,male:0.5.",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "prove",
    False,
    "Also prove how low the objective could be while references keep their gallery "
    "rows; takes as long as some dozens of iterations, on one device.",
    flag_values=FLAGS,
)
packing_flags.define(FLAGS)
device_flags.define(FLAGS)
flags.DEFINE_float(
    "checkpoint_seconds",
    60.0,
    "Seconds between checkpoints, from which the same command goes on.",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "overwrite", False, "Replace an output of other settings.", flag_values=FLAGS
)


def main() -> None:
    require_flags(FLAGS, "gallery", "output")
    files.check_output(FLAGS.output)
    config = packing_flags.config(FLAGS)
    checks.in_range(FLAGS.checkpoint_seconds, "checkpoint_seconds", 0)
    if FLAGS.num_identities is not None:
        checks.in_range(FLAGS.num_identities, "num_identities", 1)
    if FLAGS.shares and not FLAGS.balance:
        raise InputError("--shares says nothing without --balance; give both")
    if FLAGS.initial and FLAGS.balance:
        raise InputError(
            "--initial and --balance both say where references start; leave out one"
        )
    if FLAGS.prove:
        _check_provable(config)
    for name in _INPUTS:
        path = FLAGS[name].value
        if path and files.is_same(path, FLAGS.output):
            raise InputError(f"--output is --{name}, which must stay; name another")
    with device_flags.in_use(FLAGS):
        _pack(config)


def _check_provable(config: PackingConfig) -> None:
    """Refuses --prove beside settings that its bound does not cover."""
    for name, covered in (
        ("reduction", config.reduction == "min"),
        ("regularization_weight", config.regularization_weight > 0),
        ("fixed", not FLAGS.fixed),
        ("num_devices", (FLAGS.num_devices or 1) == 1),
        ("coordinator", not FLAGS.coordinator),
    ):
        if not covered:
            raise InputError(f"--prove has no bound for this --{name}; leave one out")


def _pack(config: PackingConfig) -> None:
    with processes.together():
        inputs = fingerprint_of(FLAGS, inputs=_INPUTS, leave_out=_WITHOUT_A_SAY)
        record = _packed_before(inputs)
        gallery = load_embeddings(FLAGS.gallery)
        surroundings = [
            packing_start.load_beside(gallery, FLAGS, name) for name in _SURROUNDINGS
        ]
    seen = json.dumps([inputs, record is not None], default=str)
    processes.check_same("settings or files", seen.encode())
    output = pathlib.Path(FLAGS.output)
    checkpoint_path = output.with_name(f".{output.stem}.checkpoint.npz")
    if record is not None:
        print(f"{FLAGS.output}: already packed with these settings")
        _clear_behind(output, checkpoint_path)
        _check_enrolled(record)
        return
    fixed, enrolled = surroundings
    start = packing_start.choose(gallery, fixed, FLAGS)
    with _writing(output):
        result = _run(config, start, gallery, fixed, enrolled, checkpoint_path)
        packed = packing_output.Packed(result, start, gallery, fixed, enrolled)
        references = packing_output.references_of(packed, FLAGS)
        record = packing_output.measure(packed, references, FLAGS)
        record["inputs"] = inputs
        if processes.is_main_process():
            packing_output.save(packed, references, record, FLAGS)
            print("\n".join(packing_output.describe(packed, record, FLAGS.output)))
        _clear(output, checkpoint_path)
    _check_enrolled(record)


@contextlib.contextmanager
def _writing(output: pathlib.Path) -> Iterator[None]:
    """Keeps every other command from writing the same output."""
    with contextlib.ExitStack() as held:
        with processes.together():
            if processes.is_main_process():
                held.enter_context(files.locked(_lock(output), what=output))
        yield


def _lock(output: pathlib.Path) -> pathlib.Path:
    return output.with_name(f".{output.stem}.lock")


def _clear(output: pathlib.Path, checkpoint_path: pathlib.Path) -> None:
    """Removes what only an unfinished packing needs, kills have left included."""
    if processes.is_main_process():
        checkpoint_path.unlink(missing_ok=True)
        for path in (checkpoint_path, output):
            files.remove_partial(path)


def _clear_behind(output: pathlib.Path, checkpoint_path: pathlib.Path) -> None:
    """The same, where a kill came between the output and the cleaning up.

    A checkpoint that is newer belongs to a command that is to overwrite the output, and
    what another process is writing right now is its own.
    """
    if not processes.is_main_process():
        return
    with contextlib.suppress(InputError), files.locked(_lock(output), what=output):
        newer = checkpoint_path.exists() and (
            checkpoint_path.stat().st_mtime > output.stat().st_mtime
        )
        if not newer:
            _clear(output, checkpoint_path)


def _run(
    config: PackingConfig,
    start: packing_start.Start,
    gallery: EmbeddingFile,
    fixed: EmbeddingFile | None,
    enrolled: EmbeddingFile | None,
    checkpoint_path: pathlib.Path,
) -> PackingResult:
    """Packs, with a progress bar."""
    with progress(
        total=config.for_rows(len(start.embeddings)).iterations,
        description="packing",
        unit="iteration",
    ) as bar:

        def on_progress(iteration: int, terms: Any) -> None:
            bar.set_postfix_str(
                f"J {terms.objective:.4f}, max cosine {terms.max_cosine:.4f}",
                refresh=False,
            )
            if not bar.n:
                # Neither compilation nor an earlier run counts for the rate.
                bar.initial = bar.n = bar.last_print_n = iteration
                bar.start_t = bar.last_print_t = time.time()
            bar.update(iteration - bar.n)

        return pack_embeddings(
            start.embeddings,
            gallery.embeddings,
            config,
            fixed=fixed and fixed.embeddings,
            enrolled=enrolled and enrolled.embeddings,
            on_progress=on_progress,
            checkpoint_path=checkpoint_path,
            checkpoint_seconds=FLAGS.checkpoint_seconds,
        )


def _check_enrolled(record: dict[str, Any]) -> None:
    """Refuses to call a set finished that comes too near an enrolled person."""
    found = record.get("enrolled")
    if found is None or found["kept"]:
        return
    fixed = found["fixed_too_near"]
    whose = f" ({fixed} of them of --fixed, which stay where they are)" if fixed else ""
    raise InputError(
        f"{FLAGS.output}: the best found comes within cosine "
        f"{found['max_cosine']:.4f} of an enrolled person (reference "
        f"{found['reference']}, row {found['enrolled']} of {FLAGS.enrolled}), "
        f"{found['max_cosine'] - found['limit']:.2g} more than allowed; "
        f"{found['too_near']} references are too near{whose}; raise "
        "--max_enrolled_cosine or ask for fewer identities"
    )


def _packed_before(inputs: dict[str, Any]) -> dict[str, Any] | None:
    """The record of an output that this very command wrote; None without an output."""
    if not pathlib.Path(FLAGS.output).exists() or FLAGS.overwrite:
        return None
    record = load_embeddings(FLAGS.output).metadata.get("packing") or {}
    found = record.get("inputs")
    if found is None:
        raise InputError(f"{FLAGS.output} exists and isn't of this command; move it")
    for name, value in inputs.items():
        if found.get(name) != value:
            raise InputError(
                f"{FLAGS.output} exists and was packed with another {name} "
                f"({found.get(name)}, now {value}); choose another --output, or pass "
                "--overwrite"
            )
    return record


def run() -> None:
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
