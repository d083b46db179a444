"""What hyperface-pack does: reads, packs, keeps checkpoints, writes."""

import contextlib
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

from absl import flags

from hyperface_jax import files
from hyperface_jax.cli import device_flags, packing_output, packing_start
from hyperface_jax.cli.fingerprint import fingerprint_of
from hyperface_jax.cli.packing_flags import INPUTS, SURROUNDINGS
from hyperface_jax.commands import progress
from hyperface_jax.devices import processes
from hyperface_jax.embeddings.embedding_file import EmbeddingFile, load_embeddings
from hyperface_jax.errors import InputError
from hyperface_jax.packing.config import PackingConfig
from hyperface_jax.packing.packing import PackingResult, pack_embeddings

# What outputs of earlier versions were packed with, which lacked these flags.
_BEFORE_FLAGS = {"matmul_precision": "float32"}
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
        record = _packed_before(inputs, values)
        gallery = load_embeddings(values.gallery)
        surroundings = [
            packing_start.load_beside(gallery, values, name) for name in SURROUNDINGS
        ]
    seen = json.dumps([inputs, record is not None], default=str)
    processes.check_same("settings or files", seen.encode())
    output = pathlib.Path(values.output)
    if record is not None:
        print(f"{values.output}: already packed with these settings")
        _clear_behind(output)
        _check_enrolled(record, values)
        return
    fixed, enrolled = surroundings
    start = packing_start.choose(gallery, fixed, values)
    with _writing(output):
        result = _run(config, start, gallery, fixed, enrolled, values)
        packed = packing_output.Packed(result, start, gallery, fixed, enrolled)
        references = packing_output.references_of(packed, values)
        record = packing_output.measure(packed, references, values)
        record["inputs"] = inputs
        if processes.is_main_process():
            packing_output.save(packed, references, record, values)
            print("\n".join(packing_output.describe(packed, record, values.output)))
        _clear(output)
    _check_enrolled(record, values)


@contextlib.contextmanager
def _writing(output: pathlib.Path) -> Iterator[None]:
    """Keeps every other command from writing the same output."""
    with contextlib.ExitStack() as held:
        with processes.together():
            if processes.is_main_process() and not files.is_stream(output):
                held.enter_context(files.locked(_lock(output), what=output))
        yield


def _lock(output: pathlib.Path) -> pathlib.Path:
    return output.with_name(f".{output.stem}.lock")


def _checkpoint(output: pathlib.Path) -> pathlib.Path | None:
    """Where to keep checkpoints; None beside a device or a pipe, which keep nothing."""
    if files.is_stream(output):
        return None
    return output.with_name(f".{output.stem}.checkpoint.npz")


def _clear(output: pathlib.Path) -> None:
    """Removes what only an unfinished packing needs, kills have left included."""
    checkpoint_path = _checkpoint(output)
    if processes.is_main_process() and checkpoint_path is not None:
        files.discard(checkpoint_path)
        for path in (checkpoint_path, output):
            files.remove_partial(path)


def _clear_behind(output: pathlib.Path) -> None:
    """The same, where a kill came between the output and the cleaning up.

    A checkpoint that is newer belongs to a command that is to overwrite the output, and
    what another process is writing right now is its own.
    """
    if not processes.is_main_process():
        return
    checkpoint_path = _checkpoint(output)
    with contextlib.suppress(InputError), files.locked(_lock(output), what=output):
        newer = checkpoint_path.exists() and (
            checkpoint_path.stat().st_mtime > output.stat().st_mtime
        )
        if not newer:
            _clear(output)


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
            checkpoint_path=_checkpoint(pathlib.Path(values.output)),
            checkpoint_seconds=values.checkpoint_seconds,
        )


def _check_enrolled(record: dict[str, Any], values: flags.FlagValues) -> None:
    """Refuses to call a set finished that comes too near an enrolled person."""
    found = record.get("enrolled")
    if found is None or found["kept"]:
        return
    fixed = found["fixed_too_near"]
    whose = f" ({fixed} of them of --fixed, which stay where they are)" if fixed else ""
    raise InputError(
        f"{values.output}: the best found comes within cosine "
        f"{found['max_cosine']:.4f} of an enrolled person (reference "
        f"{found['reference']}, row {found['enrolled']} of {values.enrolled}), "
        f"{found['max_cosine'] - found['limit']:.2g} more than allowed; "
        f"{found['too_near']} references are too near{whose}; raise "
        "--max_enrolled_cosine or ask for fewer identities"
    )


def _packed_before(
    inputs: dict[str, Any], values: flags.FlagValues
) -> dict[str, Any] | None:
    """The record of an output that this very command wrote; None without an output."""
    if not files.was_written(values.output) or values.overwrite:
        return None
    record = load_embeddings(values.output).metadata.get("packing") or {}
    found = record.get("inputs")
    if found is None:
        raise InputError(f"{values.output} exists and isn't of this command; move it")
    for name, value in inputs.items():
        if found.get(name, _BEFORE_FLAGS.get(name)) != value:
            raise InputError(
                f"{values.output} exists and was packed with another {name} "
                f"({found.get(name)}, now {value}); choose another --output, or pass "
                "--overwrite"
            )
    return record
