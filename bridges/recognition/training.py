"""Training of a face recogniser: a backbone under one or several tasks.

No random state outlives a step, so a training that was interrupted and resumed ends at
the bits of one that was not, on the same machine with as many threads.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import torch

from bridges.datasets.identity_folders import AUTO
from bridges.datasets.image_source import ImageSource
from bridges.devices import Device, announce_device, find_device
from bridges.recognition import checkpoint
from bridges.recognition.attribute_heads import descriptions, save_heads
from bridges.recognition.attribute_labels import announce_missing
from bridges.recognition.attribute_tasks import trained_heads
from bridges.recognition.config import CACHE_MB, TrainingConfig
from bridges.recognition.demographic_attention import (
    description as attention_description,
)
from bridges.recognition.history import TrainingCounts
from bridges.recognition.image_batches import ImageBatches
from bridges.recognition.image_batches import check_resources as check_batches
from bridges.recognition.loop import run_training
from bridges.recognition.state import (
    TrainingState,
    init_training,
    restore,
    tensors_of,
)
from bridges.recognition.training_data import (
    Dataset,
    check_images,
    describe,
    open_sources,
)
from hyperface_jax import InputError, checks, files
from hyperface_jax.artifacts import (
    Output,
    check_same_settings,
    check_vacant,
    read_json,
)
from hyperface_jax.commands import provenance

PathLike = str | os.PathLike[str]


def train_recogniser(
    dataset: Dataset | Sequence[Dataset],
    output: PathLike,
    config: TrainingConfig | None = None,
    *,
    checkpoint_minutes: float = 1.0,
    num_threads: int | None = None,
    identity_from: str = AUTO,
    skip_unreadable: bool = False,
    cache_mb: float = CACHE_MB,
    num_processes: int | None = None,
    device: str = "auto",
    precision: str = "float32",
) -> dict[str, Any]:
    """Trains a recogniser from scratch on labelled images.

    Interrupted or killed at any moment, the same call resumes: after the step that was
    interrupted, or from the last checkpoint. It may resume on another device. Called on
    a finished output it returns at once.

    The weights do not depend on ``cache_mb`` and ``num_processes``. They are the same
    bits each time on one machine with one device, precision and ``num_threads``.

    Args:
      dataset: a dataset folder, a folder of one folder per identity, or a labelled
        :class:`~bridges.datasets.image_source.ImageSource`; or several of them, whose
        identities are taken to be different people.
      output: folder for the recogniser: ``model.safetensors``, ``config.json``,
        ``training.json``.
      config: the settings, by default ``TrainingConfig()``.
      checkpoint_minutes: how often to save the state.
      num_threads: threads to compute with; None leaves torch's choice.
      identity_from: what says who is on an image where there is no metadata, see
        :class:`bridges.datasets.image_dataset.ImageDataset`.
      skip_unreadable: leave out images that can't be read; ``skipped`` of the record
        lists them.
      cache_mb: MiB that decoded images may take in memory, where they are kept if all
        fit: by default 57,000 images of 112 pixels. More are decoded for each batch.
      num_processes: how many processes decode images that do not fit; None means one a
        core, at most 8.
      device: what to compute on, as for :func:`bridges.devices.find_device`.
      precision: of the backbone's products and convolutions; tasks compute in float32.

    Returns:
      The content of ``training.json``: settings, data, history, provenance.

    Raises:
      InputError: data without identities, fewer than two identities, fewer images than
        ``batch_size``, unreadable images (all named), an output of other settings or
        data, a device that is not there, or a loss that is not finite.
    """
    config = config or TrainingConfig()
    output = pathlib.Path(output)
    checks.in_range(checkpoint_minutes, "checkpoint_minutes", 0)
    check_batches(cache_mb, num_processes)
    if num_threads is not None:
        checks.whole_number(num_threads, "num_threads", 1, 2**16)
        torch.set_num_threads(num_threads)
    place = find_device(device, precision, quiet=True)
    sources = open_sources(dataset, identity_from)
    record = describe(sources, config, skip_unreadable)
    result = Output(
        output,
        lambda: _read_complete(output, record),
        is_folder=True,
        leftovers=[output / checkpoint.PROGRESS],
    )
    if (found := result.finished()) is not None:
        return found
    if not (output / checkpoint.TRAINING).exists():
        check_vacant(output, checkpoint.TRAINING, "training")
    announce_device(device, place)
    sources, skipped = check_images(sources, config, skip_unreadable)
    if skipped:
        record["skipped"] = skipped
    images = ImageBatches(
        sources, config.image_size, cache_mb=cache_mb, num_processes=num_processes
    )
    announce_missing(sources, config)
    # Not before the images were read: an unreadable one leaves nothing behind.
    return result.make(
        lambda: _train(
            sources, images, output, config, place, record, checkpoint_minutes * 60
        )
    )


def _train(
    sources: Sequence[ImageSource],
    images: ImageBatches,
    output: pathlib.Path,
    config: TrainingConfig,
    place: Device,
    record: dict[str, Any],
    checkpoint_seconds: float,
) -> dict[str, Any]:
    """Trains from the start or the last checkpoint; returns the complete record."""
    if not (output / checkpoint.TRAINING).exists():
        files.write_json(output / checkpoint.TRAINING, record)
    state = init_training(config, sources, place)
    counts = _resume(output, state, record)
    run_training(
        state,
        counts,
        images,
        config,
        lambda: _save(output, state, counts, record),
        output=output,
        checkpoint_seconds=checkpoint_seconds,
    )
    return _finish(output, state, counts, config, record)


def _finish(
    output: pathlib.Path,
    state: TrainingState,
    counts: TrainingCounts,
    config: TrainingConfig,
    record: dict[str, Any],
) -> dict[str, Any]:
    """Writes the recogniser and the complete record; returns the latter."""
    names = ("backbone", "image_size", "embedding_size")
    heads = trained_heads(state.tasks)
    shape = {name: getattr(config, name) for name in names}
    shape |= attention_description(state.backbone) | descriptions(heads)
    # Before the network, whose weights say that the folder is complete.
    save_heads(output, heads)
    checkpoint.save_network(output, state.backbone, shape)
    complete = {
        **record,
        "complete": True,
        "history": counts.history,
        "seconds": round(counts.seconds, 1),
        "num_threads": torch.get_num_threads(),
        **state.device.record(),
        "created_with": provenance(),
    }
    files.write_json(output / checkpoint.TRAINING, complete)
    return complete


def _read_complete(
    output: pathlib.Path, record: dict[str, Any]
) -> dict[str, Any] | None:
    """The record of the same training, if it is complete; refuses any other one."""
    path = output / checkpoint.TRAINING
    if not path.exists():
        return None
    found = read_json(path)
    for part in ("settings", "data"):
        check_same_settings(path, found.get(part, {}), record[part])
    return found if found.get("complete") else None


def _save(
    output: pathlib.Path,
    state: TrainingState,
    counts: TrainingCounts,
    record: dict[str, Any],
) -> None:
    checkpoint.save_progress(
        output,
        tensors_of(state),
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
    restore(state, tensors)
    return TrainingCounts.from_json(saved["counts"])
