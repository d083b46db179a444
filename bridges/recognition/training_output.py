"""What a training leaves in its folder: saved, taken up again, and finished."""

import dataclasses
import os
import pathlib
from typing import Any

import torch

from bridges.recognition import checkpoint
from bridges.recognition.attribute_heads import descriptions, save_heads
from bridges.recognition.attribute_tasks import trained_heads
from bridges.recognition.config import TrainingConfig
from bridges.recognition.demographic_attention import (
    description as attention_description,
)
from bridges.recognition.history import TrainingCounts
from bridges.recognition.state import (
    TrainingState,
    restore,
    take_weights,
    tensors_of,
)
from bridges.recognition.validation import Score, Validation
from bridges.training.data_parallel import Workers
from hyperface_jax import InputError, files
from hyperface_jax.artifacts import check_same_settings, read_json
from hyperface_jax.commands import provenance

PathLike = str | os.PathLike[str]

# Before the names of the best epoch's weights in a checkpoint.
_BEST = "best."


@dataclasses.dataclass(frozen=True)
class Job:
    """A training as it was asked for.

    Attributes:
      output: its folder.
      config: the settings.
      workers: the processes that share it; the first one writes.
      record: ``training.json`` as it is before the first step.
      checkpoint_seconds: how often to save.
      compiled: as for ``train_recogniser``.
      tensorboard: likewise.
      initial: likewise.
    """

    output: pathlib.Path
    config: TrainingConfig
    workers: Workers
    record: dict[str, Any]
    checkpoint_seconds: float
    compiled: bool
    tensorboard: PathLike | None
    initial: PathLike | None


def read_complete(
    output: pathlib.Path, record: dict[str, Any]
) -> dict[str, Any] | None:
    """The record of the same training, if it is complete.

    Raises:
      InputError: the record of another training.
    """
    path = output / checkpoint.TRAINING
    if not path.exists():
        return None
    found = read_json(path)
    for part in ("settings", "data"):
        check_same_settings(path, found.get(part, {}), record[part])
    return found if found.get("complete") else None


def save(
    job: Job,
    state: TrainingState,
    counts: TrainingCounts,
    validation: Validation | None,
) -> None:
    """Writes the state of a training, in the first of its processes."""
    if job.workers.rank:
        return
    tensors = tensors_of(state)
    saved = {
        "data": job.record["data"],
        "left_out": _left_out(job),
        "counts": dataclasses.asdict(counts),
    }
    if validation is not None and validation.best is not None:
        tensors |= {_BEST + name: value for name, value in validation.weights.items()}
        saved["best"] = validation.best
    checkpoint.save_progress(job.output, tensors, saved)


def resume(
    job: Job, state: TrainingState, validation: Validation | None
) -> TrainingCounts:
    """Fills ``state`` from the last checkpoint, if there is one.

    Raises:
      InputError: a damaged checkpoint, or one of a training on other images.
    """
    found = checkpoint.load_progress(job.output)
    if found is None:
        return TrainingCounts()
    tensors, saved = found
    if saved["data"] != job.record["data"]:
        raise InputError(
            f"{job.output / checkpoint.PROGRESS}: of a training on other images; "
            "remove it to train from the start"
        )
    if saved.get("left_out", _left_out(job)) != _left_out(job):
        raise InputError(
            f"{job.output / checkpoint.PROGRESS}: of a training that left "
            f"{len(saved['left_out'])} unreadable images out, now it is "
            f"{len(_left_out(job))}; give check_images as then, or remove it to train "
            "from the start"
        )
    restore(state, tensors)
    if validation is not None and "best" in saved:
        validation.best = Score(*saved["best"])
        validation.weights = {
            name.removeprefix(_BEST): value
            for name, value in tensors.items()
            if name.startswith(_BEST)
        }
    return TrainingCounts.from_json(saved["counts"])


def finish(
    job: Job,
    state: TrainingState,
    counts: TrainingCounts,
    validation: Validation | None,
) -> dict[str, Any]:
    """Writes the recogniser and the complete record; returns the latter."""
    config = job.config
    complete = {
        **job.record,
        "complete": True,
        "history": counts.history,
        "seconds": round(counts.seconds, 1),
        "seconds_waiting_for_images": round(counts.waited, 1),
        "num_threads": torch.get_num_threads(),
        **({"processes": job.workers.count} if job.workers.count > 1 else {}),
        **state.device.record(),
        "created_with": provenance(),
    }
    if counts.skipped:
        complete["skipped"] = {**job.record.get("skipped", {}), **counts.skipped}
    if validation is not None:
        take_weights(state, validation.weights)
        complete["validation"] = validation.record(counts.history)
    if job.workers.rank:
        return complete
    names = ("backbone", "image_size", "embedding_size")
    heads = trained_heads(state.tasks)
    shape = {name: getattr(config, name) for name in names}
    shape |= attention_description(state.backbone) | descriptions(heads)
    if validation is not None:
        # Not before it is needed: matplotlib takes a second.
        from bridges.recognition.training_curve import CURVE, write_curve

        kept = complete["validation"]["kept_epoch"]
        write_curve(counts.history, kept, job.output / CURVE)
    # Before the network, whose weights say that the folder is complete.
    save_heads(job.output, heads)
    checkpoint.save_network(job.output, state.backbone, shape)
    files.write_json(job.output / checkpoint.TRAINING, complete)
    return complete


def _left_out(job: Job) -> list[str]:
    """The images that were found to be unreadable before the training began."""
    return sorted(job.record.get("skipped", {}))
