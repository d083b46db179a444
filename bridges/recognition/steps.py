"""Steps of a recognition training: learning rate, gradients, update.

No random state outlives a step: augmentation and dropout are functions of the seed and
the step.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from bridges.recognition.augmentation import AUGMENTATIONS, augment_telling
from bridges.recognition.config import TrainingConfig
from bridges.recognition.draws import Part
from bridges.recognition.state import TrainingState
from bridges.recognition.task_weighting import total_loss
from bridges.recognition.tasks import TaskOutput, mirror
from bridges.training.data_parallel import Workers

ALONE = Workers(0, 1)
_DROPOUTS = nn.modules.dropout._DropoutNd


class StepOutput(NamedTuple):
    """What a step computed, still on the device; of this process's part of the batch.

    Attributes:
      loss: the sum of the tasks' weighted losses.
      tasks: the output of each task.
      diagnostics: what says how the training fares, by name: ``gradient_norm`` before
        it is clipped, and ``mean_cosine`` between the features of two images.
    """

    loss: torch.Tensor
    tasks: dict[str, TaskOutput]
    diagnostics: dict[str, torch.Tensor]


def train_step(
    state: TrainingState,
    images: torch.Tensor,
    targets: Mapping[str, torch.Tensor],
    config: TrainingConfig,
    *,
    progress: float,
    generator: torch.Generator,
    workers: Workers = ALONE,
) -> StepOutput:
    """One step of the optimiser, changing ``state`` in place.

    The backbone computes in the device's precision, augmentation and tasks in float32.
    With ``config.accumulation`` the batch is computed in so many pieces, whose
    gradients are added.

    Args:
      state: from :func:`bridges.recognition.state.init_training`.
      images: ``[b, 3, s, s]`` uint8 RGB, on the state's device: this process's part.
      targets: the rows of each task's targets for these images, on that device.
      config: the settings.
      progress: fraction of the training that is done, 0 to 1.
      generator: source of the augmentation, see :func:`augment_telling`.
      workers: the processes that share the batch.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate_at(progress, config)
    for task in state.tasks.values():
        if hasattr(task, "before_step"):
            task.before_step(targets, state.optimizer, generator)
    pieces = [
        _accumulate(state, images, targets, config, progress, each)
        for each in _pieces(len(images), config.accumulation, generator, workers)
    ]
    parameters = [*state.parameters(heard_only=True).values()]
    workers.average_gradients(parameters)
    norm = _clip(state, parameters, config.gradient_clip)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    for task in state.tasks.values():
        if hasattr(task, "after_step"):
            task.after_step(state.optimizer)
    first = pieces[0]
    first.diagnostics["gradient_norm"] = norm
    return first if len(pieces) == 1 else _mean_of(pieces)


class _Piece(NamedTuple):
    """Images whose gradients are computed at once.

    Attributes:
      rows: which of this process's.
      part: where they stand in the batch of the step.
      generator: of the step, as it was at its beginning.
    """

    rows: slice
    part: Part
    generator: torch.Generator


def _pieces(
    count: int, accumulation: int, generator: torch.Generator, workers: Workers
) -> Iterator[_Piece]:
    size, drawn = count // accumulation, generator.get_state()
    for start in range(0, count, size):
        # Each draws the numbers of the whole batch and takes its own.
        generator.set_state(drawn)
        # All processes' parts of a piece stand together in the batch.
        first = workers.count * start + workers.rank * size
        part = Part(first, workers.count * count)
        yield _Piece(slice(start, start + size), part, generator)


def _accumulate(
    state: TrainingState,
    images: torch.Tensor,
    targets: Mapping[str, torch.Tensor],
    config: TrainingConfig,
    progress: float,
    piece: _Piece,
) -> StepOutput:
    """Adds the gradient of a piece to the parameters'; the first one's replaces it."""
    if piece.rows.start == 0:
        state.optimizer.zero_grad(set_to_none=True)
    x, mirrored = augment_telling(
        images[piece.rows],
        AUGMENTATIONS[config.augmentation],
        piece.generator,
        piece.part,
    )
    with _seeded(state, piece), state.device.autocast():
        features = state.forward(x)
    features = features.float()
    outputs = {
        name: task.loss(
            features, x, mirror(task, targets[name][piece.rows], mirrored), progress
        )
        for name, task in state.tasks.items()
    }
    loss = total_loss(state.tasks, outputs)
    state.scaler.scale(loss / config.accumulation).backward()
    return StepOutput(loss.detach(), outputs, {"mean_cosine": mean_cosine(features)})


@contextlib.contextmanager
def _seeded(state: TrainingState, piece: _Piece) -> Iterator[None]:
    """Has dropout draw by the step, from torch's global generator, left as it was.

    Each process and piece draws masks of its own.
    """
    if not any(isinstance(m, _DROPOUTS) and m.p for m in state.backbone.modules()):
        yield
        return
    place = state.device.torch
    devices = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        # Not the seed of the augmentation, whose numbers these would repeat.
        seed = step_generator(piece.generator.initial_seed(), piece.part.first)
        torch.manual_seed(seed.initial_seed())
        yield


def _clip(
    state: TrainingState, parameters: Sequence[nn.Parameter], limit: float
) -> torch.Tensor:
    """Clips the gradient's norm to ``limit``, unless that is 0; the norm before."""
    state.scaler.unscale_(state.optimizer)
    if limit:
        return nn.utils.clip_grad_norm_(parameters, limit)
    gradients = [p.grad for p in parameters if p.grad is not None]
    return nn.utils.get_total_norm(gradients)


def _mean_of(pieces: Sequence[StepOutput]) -> StepOutput:
    def mean(values: Iterable[torch.Tensor]) -> torch.Tensor:
        # NaN is a metric of which no image of the piece says anything.
        return torch.stack([value.detach() for value in values]).nanmean(0)

    tasks = {
        name: TaskOutput(
            torch.stack([each.tasks[name].loss.detach() for each in pieces]).mean(0),
            {
                key: mean(each.tasks[name].metrics[key] for each in pieces)
                for key in out.metrics
            },
        )
        for name, out in pieces[0].tasks.items()
    }
    loss = torch.stack([each.loss for each in pieces]).mean(0)
    return StepOutput(loss, tasks, pieces[0].diagnostics)


@torch.no_grad()
def mean_cosine(features: torch.Tensor) -> torch.Tensor:
    """The mean cosine between two different rows, over all pairs; a scalar.

    Needs no pairs: with unit rows :math:`u_i` it is
    :math:`(|\\sum_i u_i|^2 - n) / (n (n - 1))`.
    """
    n = len(features)
    total = nn.functional.normalize(features, dim=1).sum(0)
    return (total.square().sum() - n) / max(1, n * (n - 1))


def learning_rate_at(progress: float, config: TrainingConfig) -> float:
    """The learning rate when the fraction ``progress`` of the training is done."""
    if progress < config.warmup:
        # Not from 0: the first step should do something.
        return config.learning_rate * (0.02 + 0.98 * progress / config.warmup)
    if config.schedule == "polynomial":
        left = 1 - (progress - config.warmup) / max(1 - config.warmup, 1e-9)
        return config.learning_rate * max(0.0, left) ** 2
    if config.schedule == "multi_step":
        passed = sum(progress >= milestone for milestone in config.milestones)
        return config.learning_rate * 0.1**passed
    falling = (progress - config.warmup) / max(1 - config.warmup, 1e-9)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * falling))


def num_steps(epoch_size: int, config: TrainingConfig) -> int:
    """Steps of the whole training: ``epochs * epoch_size / batch_size``, rounded up."""
    return math.ceil(config.epochs * epoch_size / config.batch_size)


def step_generator(seed: int, step: int) -> torch.Generator:
    """The source of a step's randomness, a function of seed and step; on the CPU."""
    # Hashed, so that the streams of neighbouring seeds and steps share nothing.
    words = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))
