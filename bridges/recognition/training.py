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
from bridges.devices import announce_device
from bridges.recognition import checkpoint
from bridges.recognition.attribute_labels import announce_missing
from bridges.recognition.config import CACHE_MB, TrainingConfig
from bridges.recognition.image_batches import ImageBatches
from bridges.recognition.image_batches import check_resources as check_batches
from bridges.recognition.image_order import ImageOrder
from bridges.recognition.initial_weights import describe_initial, load_initial
from bridges.recognition.loop import Surroundings, run_training
from bridges.recognition.state import (
    init_training,
)
from bridges.recognition.training_data import (
    Dataset,
    check_epoch,
    check_together,
    describe,
    open_sources,
    say_single_images,
)
from bridges.recognition.training_log import TrainingLog
from bridges.recognition.training_output import (
    Job,
    finish,
    read_complete,
    resume,
    save,
)
from bridges.recognition.validation import Validation, split_people
from bridges.training import torchrun
from bridges.training.data_parallel import Workers
from hyperface_jax import InputError, checks, files
from hyperface_jax.artifacts import (
    Output,
    check_vacant,
)

PathLike = str | os.PathLike[str]


@torchrun.shared
def train_recogniser(
    dataset: Dataset | Sequence[Dataset],
    output: PathLike,
    config: TrainingConfig | None = None,
    *,
    checkpoint_minutes: float = 1.0,
    num_threads: int | None = None,
    identity_from: str = AUTO,
    skip_unreadable: bool = False,
    check_images: bool = True,
    cache_mb: float = CACHE_MB,
    num_processes: int | None = None,
    device: str = "auto",
    precision: str = "float32",
    compiled: bool = False,
    tensorboard: PathLike | None = None,
    initial: PathLike | None = None,
) -> dict[str, Any]:
    """Trains a recogniser on labelled images, from scratch or from another's weights.

    Interrupted or killed at any moment, the same call resumes: after the step that was
    interrupted, or from the last checkpoint. It may resume on another device. Called on
    a finished output it returns at once.

    The weights do not depend on ``cache_mb`` and ``num_processes``. They are the same
    bits each time on one machine with one device, precision and ``num_threads``.

    Started by ``torchrun``, each process computes its part of every batch, and the
    first one writes. The steps are those of one process with the whole batch, but for
    rounding: batch norms and AdaFace's statistics are taken over all processes.

    Args:
      dataset: a dataset folder, a folder of one folder per identity, or a labelled
        :class:`~bridges.datasets.image_source.ImageSource`; or several of them, whose
        identities are taken to be different people.
      output: folder for the recogniser: ``model.safetensors``, ``config.json``,
        ``training.json``, ``log.jsonl``.
      config: the settings, by default ``TrainingConfig()``.
      checkpoint_minutes: how often to save the state.
      num_threads: threads to compute with; None leaves torch's choice.
      identity_from: what says who is on an image where there is no metadata, see
        :class:`bridges.datasets.image_dataset.ImageDataset`.
      skip_unreadable: leave out images that can't be read; ``skipped`` of the record
        lists them.
      check_images: decode every image once before the training begins. Without it, one
        that can't be read is found when a step needs it: the training then stops, or
        goes on with another one of the batch in its place.
      cache_mb: MiB that decoded images may take in memory, where they are kept if all
        fit: by default 57,000 images of 112 pixels. More are decoded for each batch.
      num_processes: how many processes decode images that do not fit; None means one a
        core, at most 8.
      device: what to compute on, as for :func:`bridges.devices.find_device`.
      precision: of the backbone's products and convolutions; tasks compute in float32.
      compiled: have ``torch.compile`` make the backbone's kernels: a start of minutes,
        then faster steps on a GPU. The bits are other ones.
      tensorboard: folder for TensorBoard's files, or None.
      initial: a recogniser of ours, a name or a folder, whose backbone to begin with;
        None draws one.

    Returns:
      The content of ``training.json``: settings, data, history, provenance.

    Raises:
      InputError: data without identities, fewer than two identities, fewer images than
        ``batch_size``, unreadable images (all named), an output of other settings or
        data, a device that is not there, ``initial`` of another architecture, or a loss
        that is not finite.
      ConnectionError: under ``torchrun``, another process has ended.
    """
    config = config or TrainingConfig()
    output = pathlib.Path(output)
    checks.in_range(checkpoint_minutes, "checkpoint_minutes", 0)
    check_batches(cache_mb, num_processes)
    if num_threads is not None:
        checks.whole_number(num_threads, "num_threads", 1, 2**16)
        torch.set_num_threads(num_threads)
    workers = torchrun.join(device, precision)
    check_division(config, workers)
    sources = open_sources(dataset, identity_from)
    record = describe(sources, config, skip_unreadable)
    record["settings"] |= describe_initial(initial)
    result = Output(
        output,
        lambda: read_complete(output, record),
        is_folder=True,
        leftovers=[output / checkpoint.PROGRESS],
    )
    if (found := result.finished()) is not None:
        return found
    if not workers.rank and not (output / checkpoint.TRAINING).exists():
        check_vacant(output, checkpoint.TRAINING, "training")
    announce_device(device, workers.device)
    if check_images:
        sources, skipped = check_together(sources, config, skip_unreadable, workers)
        if skipped:
            record["skipped"] = skipped
    reading = {
        "cache_mb": cache_mb / workers.count,
        "num_processes": num_processes,
        "skip_unreadable": skip_unreadable,
    }
    job = Job(
        output,
        config,
        workers,
        record,
        checkpoint_minutes * 60,
        compiled,
        tensorboard,
        initial,
    )
    # Not before the images were read: an unreadable one leaves nothing behind.
    data = _prepare(sources, config, reading)
    if workers.rank:
        return _train(job, data)
    return result.make(lambda: _train(job, data))


@dataclasses.dataclass(frozen=True)
class _Data:
    """What is trained on, and the people held out of it."""

    sources: Sequence[ImageSource]
    images: ImageBatches
    order: ImageOrder
    validation: Validation | None


def _prepare(
    sources: Sequence[ImageSource], config: TrainingConfig, reading: dict[str, Any]
) -> _Data:
    """Holds people out, decodes what fits into memory, and orders the rest."""
    validation = None
    if config.validation_share:
        sources, held_out = split_people(sources, config.validation_share, config.seed)
        validation = Validation(held_out, config.image_size, config.seed, **reading)
        if validation.images.cache is not None:
            kept_mb = validation.images.cache.nbytes / 2**20
            reading = {**reading, "cache_mb": reading["cache_mb"] - kept_mb}
    say_single_images(sources)
    announce_missing(sources, config)
    counts = [len(source) for source in sources]
    order = ImageOrder(counts, config.seed, config.dataset_weights)
    check_epoch(order.epoch_size, sources, config)
    images = ImageBatches(sources, config.image_size, **reading)
    return _Data(sources, images, order, validation)


def _train(job: Job, data: _Data) -> dict[str, Any]:
    """Trains from the start or the last checkpoint; returns the complete record."""
    output, config, workers = job.output, job.config, job.workers
    state = init_training(
        config,
        data.sources,
        workers.device,
        compiled=job.compiled,
        synchronised=workers.count > 1,
    )
    if job.initial is not None:
        load_initial(job.initial, state.backbone)
    if not workers.rank and not (output / checkpoint.TRAINING).exists():
        files.write_json(output / checkpoint.TRAINING, job.record)
    counts = resume(job, state, data.validation)
    torchrun.check_same_step(workers, counts.step, output)
    log = None if workers.rank else TrainingLog(output, counts.step, job.tensorboard)
    around = Surroundings(
        lambda: save(job, state, counts, data.validation),
        output,
        job.checkpoint_seconds,
        num_classes=sum(len(source.identities) for source in data.sources),
        workers=workers,
        log=log,
        validation=data.validation,
    )
    try:
        run_training(state, counts, data.images, data.order, config, around)
    except torch.OutOfMemoryError as error:
        raise MemoryError(
            f"{config.batch_size} images a step are too many for the device "
            f"({error}); raise accumulation, lower batch_size, or give "
            "precision=bfloat16"
        ) from None
    return finish(job, state, counts, data.validation)


def check_division(config: TrainingConfig, workers: Workers) -> None:
    """Checks that a batch can be divided among processes and pieces.

    Raises:
      InputError: it can't.
    """
    if config.batch_size % (workers.count * config.accumulation):
        raise InputError(
            f"batch_size {config.batch_size} is not divisible by {workers.count} "
            f"processes times accumulation {config.accumulation}"
        )
