"""What hyperface-pack does: reads, packs, keeps checkpoints, writes."""

import contextlib
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

from absl import flags

from hyperface_jax import artifacts, files
from hyperface_jax.cli import (
    device_flags,
    enrolment,
    packing_output,
    packing_start,
)
from hyperface_jax.cli.fingerprint import fingerprint_of
from hyperface_jax.cli.packing_flags import INPUTS, SURROUNDINGS
from hyperface_jax.commands import announce, progress
from hyperface_jax.devices import processes
from hyperface_jax.embeddings.embedding_file import EmbeddingFile, load_embeddings
from hyperface_jax.errors import InputError
from hyperface_jax.packing.config import PackingConfig
from hyperface_jax.packing.packing import PackingResult, pack_embeddings

# What outputs of earlier versions were packed with, which lacked these flags.
_BEFORE_FLAGS = {"matmul_precision": "float32", "enrolled_fmr": None}
_WITHOUT_A_SAY = ("output", "overwrite", "checkpoint_seconds", *device_flags.NAMES)


def run_packing(config: PackingConfig, values: flags.FlagValues) -> None:
    """Packs what the parsed flags ``values`` of hyperface-pack name, unless it is done.

    Args:
      config: the settings of the packing.
      values: the flags; the devices they name are in use.

    Raises:
      InputError: what a file or a flag is refused for.
    """
    with processes.together():
        inputs = fingerprint_of(values, inputs=INPUTS, leave_out=_WITHOUT_A_SAY)
        output = _output(inputs, values)
        record = output.finished()
        gallery = load_embeddings(values.gallery)
        fixed, enrolled = (
            packing_start.load_beside(gallery, values, name) for name in SURROUNDINGS
        )
        config, calibration = enrolment.limit(config, enrolled, values)
        for line in enrolment.remarks(enrolled, values.enrolled):
            announce(line)
    _agree(inputs, record)
    packed = False
    if record is None:
        start = packing_start.choose(gallery, fixed, values)
        with _writing(output) as record:
            _agree(inputs, record)
            if record is None:
                result = _run(config, start, gallery, fixed, enrolled, values)
                made_of = packing_output.Packed(
                    result, start, gallery, fixed, enrolled, calibration
                )
                record = _write(made_of, values, inputs)
                packed = True
                if processes.is_main_process():
                    output.clean_up()
    if not packed:
        print(f"{values.output}: already packed with these settings")
    _check_enrolled(record, values)


def _agree(inputs: dict[str, Any], record: dict[str, Any] | None) -> None:
    """Refuses processes that were given different things, or found them."""
    seen = json.dumps([inputs, record is not None], default=str)
    processes.check_same("settings or files", seen.encode())


def _output(
    inputs: dict[str, Any], values: flags.FlagValues
) -> artifacts.Output[dict[str, Any]]:
    """The output, whose finished state is its packing record."""
    checkpoint_path = _checkpoint(values.output)
    return artifacts.Output(
        values.output,
        lambda: None if values.overwrite else _packed_before(inputs, values),
        leftovers=[] if checkpoint_path is None else [checkpoint_path],
    )


@contextlib.contextmanager
def _writing(
    output: artifacts.Output[dict[str, Any]],
) -> Iterator[dict[str, Any] | None]:
    """Holds the output in the main process, which writes it."""
    with contextlib.ExitStack() as held:
        with processes.together():
            if processes.is_main_process():
                held.enter_context(output.writing())
        yield output.finished()


def _checkpoint(output: str) -> pathlib.Path | None:
    """Where to keep checkpoints; None beside a device or a pipe, which keep nothing."""
    if files.is_stream(output):
        return None
    path = pathlib.Path(output)
    return path.with_name(f".{path.stem}.checkpoint.npz")


def _write(
    packed: packing_output.Packed, values: flags.FlagValues, inputs: dict[str, Any]
) -> dict[str, Any]:
    """Measures, and in the main process writes and describes; returns the record."""
    references = packing_output.references_of(packed, values)
    record = packing_output.measure(packed, references, values)
    record["inputs"] = inputs
    if processes.is_main_process():
        packing_output.save(packed, references, record, values)
        print("\n".join(packing_output.describe(packed, record, values.output)))
    return record


def _run(
    config: PackingConfig,
    start: packing_start.Start,
    gallery: EmbeddingFile,
    fixed: EmbeddingFile | None,
    enrolled: EmbeddingFile | None,
    values: flags.FlagValues,
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
                # Neither compilation nor an earlier run counts towards the rate.
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
            checkpoint_path=_checkpoint(values.output),
            checkpoint_seconds=values.checkpoint_seconds,
        )


def _check_enrolled(record: dict[str, Any], values: flags.FlagValues) -> None:
    """Refuses to call a set finished that comes too near an enrolled person."""
    found = record.get("enrolled")
    if found is None or found["kept"]:
        return
    fixed = found["fixed_too_near"]
    flag = "enrolled_fmr" if "calibration" in found else "max_enrolled_cosine"
    whose = f" ({fixed} of them of --fixed, which stay where they are)" if fixed else ""
    raise InputError(
        f"{values.output}: the best found comes within cosine "
        f"{found['max_cosine']:.4f} of an enrolled person (reference "
        f"{found['reference']}, row {found['enrolled']} of {values.enrolled}), "
        f"{found['max_cosine'] - found['limit']:.2g} more than allowed; "
        f"{found['too_near']} references are too near{whose}; raise "
        f"--{flag} or ask for fewer identities"
    )


def _packed_before(
    inputs: dict[str, Any], values: flags.FlagValues
) -> dict[str, Any] | None:
    """The record of an output that this very command wrote; None without an output."""
    if not files.was_written(values.output):
        return None
    record = load_embeddings(values.output).metadata.get("packing") or {}
    if "inputs" not in record:
        raise InputError(f"{values.output} exists and isn't of this command; move it")
    artifacts.check_same_settings(
        values.output,
        {**_BEFORE_FLAGS, **record["inputs"]},
        inputs,
        remedy="choose another --output, or pass --overwrite",
    )
    return record
