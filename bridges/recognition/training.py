"""Training of a face recogniser: a backbone under a margin head.

Nothing random outlives a step, so a training that was interrupted and goes on gives the
bits of one that was not, on the same machine with as many threads.
"""

import dataclasses
import math
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import torch

from bridges.datasets.identity_folders import AUTO
from bridges.datasets.image_dataset import open_images
from bridges.provenance import check_same_settings, read_json
from bridges.recognition import checkpoint
from bridges.recognition.config import TrainingConfig
from bridges.recognition.steps import (
    TrainingState,
    batch_indices,
    init_training,
    num_steps,
    step_generator,
    train_step,
    trainable,
)
from bridges.recognition.training_data import (
    TrainingData,
    check_apart,
    check_images,
    describe,
    load,
)
from hyperface_jax import InputError, checks, files, interruptions
from hyperface_jax.commands import progress as progress_bar
from hyperface_jax.commands import provenance

PathLike = str | os.PathLike[str]


@dataclasses.dataclass
class TrainingCounts:
    """How far a training is; JSON-ready, saved with every checkpoint.

    Attributes:
      step: steps done.
      seconds: time spent, over all runs.
      loss: sum over the steps of this epoch.
      correct: sum over them of the fraction of images nearest to their own class.
      history: per epoch: epoch, loss, accuracy, seconds.
    """

    step: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    correct: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


def train_recogniser(
    dataset: PathLike | Sequence[PathLike],
    output: PathLike,
    config: TrainingConfig | None = None,
    *,
    checkpoint_minutes: float = 1.0,
    num_threads: int | None = None,
    identity_from: str = AUTO,
    skip_unreadable: bool = False,
) -> dict[str, Any]:
    """Trains a recogniser from scratch on labelled images.

    All images are held in memory as uint8. Interrupted or killed at any moment, the
    same call goes on: after the step that was interrupted, or from the last checkpoint;
    called on a finished output it returns at once.

    Args:
      dataset: a dataset folder or a folder of one folder per identity; or several of
        them, whose identities are taken to be different people.
      output: folder for the recogniser: ``model.safetensors``, ``config.json``,
        ``training.json``.
      config: the settings, by default ``TrainingConfig()``.
      checkpoint_minutes: how often to save the state.
      num_threads: threads to compute with; None leaves torch's choice.
      identity_from: what says who is on an image where there is no metadata, see
        :class:`bridges.datasets.image_dataset.ImageDataset`.
      skip_unreadable: leave out images that can't be read; ``skipped`` of the record
        lists them.

    Returns:
      What ``training.json`` holds: settings, data, history, provenance.

    Raises:
      InputError: data without identities, fewer than two identities, fewer images than
        ``batch_size``, unreadable images (all named), an output of other settings or
        data, or a loss that is not finite.
    """
    config = config or TrainingConfig()
    output = pathlib.Path(output)
    _check_resources(checkpoint_minutes, num_threads)
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    folders = [dataset] if isinstance(dataset, str | os.PathLike) else dataset
    sets = [
        open_images(folder, identity_from=identity_from) for folder in folders or ()
    ]
    if not sets:
        raise InputError("no dataset given to train on")
    check_apart(sets)
    record = describe(sets, config, skip_unreadable)
    found = _read_same(output, record)
    if found is not None and found.get("complete"):
        # Left by a kill right after the record.
        files.discard(output / checkpoint.PROGRESS)
        return found
    if skipped := check_images(sets, config, skip_unreadable):
        record["skipped"] = skipped
    data = load(sets, config.image_size)
    # Not before the images were read: an unreadable one leaves nothing behind.
    with files.exclusive(output):
        # Once more: until now another process may have been writing.
        found = _read_same(output, record)
        if found is not None and found.get("complete"):
            return found
        if found is None:
            files.write_json(output / checkpoint.TRAINING, record)
        state = init_training(config, data.num_identities)
        counts = _resume(output, state, record)
        _run(state, counts, data, config, output, checkpoint_minutes * 60, record)
        return _finish(output, state, counts, config, record)


def _run(
    state: TrainingState,
    counts: TrainingCounts,
    data: TrainingData,
    config: TrainingConfig,
    output: pathlib.Path,
    checkpoint_seconds: float,
    record: dict[str, Any],
) -> None:
    """Trains to the end, changing ``state`` and ``counts``."""
    total = num_steps(len(data.labels), config)
    state.backbone.train()
    state.head.train()
    saved = last = time.monotonic()
    with (
        progress_bar(
            description="training", total=total, unit="step", initial=counts.step
        ) as bar,
        # A step changes the state bit by bit: in the middle there is none to save.
        interruptions.held_back() as interrupted,
    ):
        while counts.step < total:
            begun = time.monotonic()
            loss, correct = _step(state, data, config, counts.step, total)
            _check_finite(loss, output, counts.step)
            now = time.monotonic()
            _count(counts, loss, correct, now - last, len(data.labels), config)
            last = now
            bar.set_postfix(
                loss=f"{loss:.2f}", accuracy=f"{correct:.3f}", refresh=False
            )
            bar.update()
            due = interruptions.is_due(now - saved, checkpoint_seconds, now - begun)
            # Also at the end: what comes after may be interrupted, too.
            if due or interrupted or counts.step == total:
                _save(output, state, counts, record)
                saved = time.monotonic()
            if interrupted:
                raise KeyboardInterrupt


def _check_finite(loss: float, output: pathlib.Path, step: int) -> None:
    if not math.isfinite(loss):
        raise InputError(
            f"{output}: the loss is {loss} at step {step}; train again into another "
            "folder with a lower learning_rate"
        )


def _step(
    state: TrainingState,
    data: TrainingData,
    config: TrainingConfig,
    step: int,
    total: int,
) -> tuple[float, float]:
    """Step number ``step`` of ``total``, all it depends on drawn from these numbers."""
    order = batch_indices(len(data.labels), config.batch_size, config.seed, step)
    chosen = torch.from_numpy(order)
    return train_step(
        state,
        data.images[chosen].permute(0, 3, 1, 2),
        data.labels[chosen],
        config,
        done=step / total,
        generator=step_generator(config.seed, step),
    )


def _count(
    counts: TrainingCounts,
    loss: float,
    correct: float,
    seconds: float,
    num_images: int,
    config: TrainingConfig,
) -> None:
    """Adds a step to the counts, and at the end of an epoch a row to the history."""
    # In whole numbers: a quotient of floats may be just below one.
    epoch = counts.step * config.batch_size // num_images
    counts.step += 1
    counts.seconds += seconds
    counts.loss += loss
    counts.correct += correct
    ended = counts.step * config.batch_size // num_images > epoch
    if ended or counts.step == num_steps(num_images, config):
        before = counts.history[-1]["step"] if counts.history else 0
        counts.history.append(
            {
                "epoch": epoch + 1,
                "step": counts.step,
                "loss": counts.loss / (counts.step - before),
                "accuracy": counts.correct / (counts.step - before),
                "seconds": round(counts.seconds, 1),
            }
        )
        counts.loss = counts.correct = 0.0


def _finish(
    output: pathlib.Path,
    state: TrainingState,
    counts: TrainingCounts,
    config: TrainingConfig,
    record: dict[str, Any],
) -> dict[str, Any]:
    """Writes the recogniser and the complete record; returns the latter."""
    names = ("backbone", "image_size", "embedding_size")
    shape = {name: getattr(config, name) for name in names}
    checkpoint.save_weights(output, state.backbone, shape)
    complete = {
        **record,
        "complete": True,
        "history": counts.history,
        "seconds": round(counts.seconds, 1),
        "num_threads": torch.get_num_threads(),
        "created_with": provenance(),
    }
    files.write_json(output / checkpoint.TRAINING, complete)
    files.discard(output / checkpoint.PROGRESS)
    return complete


def _check_resources(checkpoint_minutes: float, num_threads: int | None) -> None:
    checks.in_range(checkpoint_minutes, "checkpoint_minutes", 0)
    if num_threads is not None:
        checks.whole_number(num_threads, "num_threads", 1, 2**16)


def _read_same(output: pathlib.Path, record: dict[str, Any]) -> dict[str, Any] | None:
    """The record of the same training in ``output``, complete or not; None if new."""
    path = output / checkpoint.TRAINING
    if path.exists():
        found = read_json(path)
        for part in ("settings", "data"):
            check_same_settings(path, found.get(part, {}), record[part])
        return found
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file, expected a folder to write to")
    present = [p.name for p in output.glob("*") if not p.name.startswith(".")]
    if present:
        raise InputError(
            f"{output}: holds {sorted(present)[0]!r} but no {checkpoint.TRAINING}, so "
            "it isn't a training of ours; give a new or empty folder"
        )
    return None


def _save(
    output: pathlib.Path,
    state: TrainingState,
    counts: TrainingCounts,
    record: dict[str, Any],
) -> None:
    checkpoint.save_progress(
        output,
        _tensors_of(state),
        {"data": record["data"], "counts": dataclasses.asdict(counts)},
    )


def _resume(
    output: pathlib.Path, state: TrainingState, record: dict[str, Any]
) -> TrainingCounts:
    """Fills ``state`` from the last checkpoint, if there is one."""
    found = checkpoint.load_progress(output)
    if found is None:
        return TrainingCounts()
    tensors, saved = found
    if saved["data"] != record["data"]:
        raise InputError(
            f"{output / checkpoint.PROGRESS}: of a training on other images; "
            "remove it to train from the start"
        )
    _restore(state, tensors)
    return TrainingCounts(**saved["counts"])


def _tensors_of(state: TrainingState) -> dict[str, torch.Tensor]:
    """All tensors of a training, by name."""
    tensors = {f"backbone.{k}": v for k, v in state.backbone.state_dict().items()}
    tensors |= {f"head.{k}": v for k, v in state.head.state_dict().items()}
    for name, parameter in trainable(state.backbone, state.head).items():
        for key, value in state.optimizer.state[parameter].items():
            tensors[f"optimizer.{name}.{key}"] = value
    return tensors


def _restore(state: TrainingState, tensors: dict[str, torch.Tensor]) -> None:
    """Gives ``state`` the tensors that :func:`_tensors_of` named."""
    state.backbone.load_state_dict(_under("backbone.", tensors))
    state.head.load_state_dict(_under("head.", tensors))
    for name, parameter in trainable(state.backbone, state.head).items():
        for key, value in _under(f"optimizer.{name}.", tensors).items():
            # In the parameter's own memory layout, as the optimiser made it.
            if value.shape == parameter.shape:
                value = torch.empty_like(parameter.detach()).copy_(value)
            state.optimizer.state[parameter][key] = value


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        key.removeprefix(prefix): value
        for key, value in tensors.items()
        if key.startswith(prefix)
    }
