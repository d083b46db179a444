"""Steps of a recognition training: learning rate, order of images, update.

No random state outlives a step: the order of the images is a function of the seed and
the epoch, the augmentation of the seed and the step.
"""

import functools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from bridges.recognition.augmentation import AUGMENTATIONS, augment_telling
from bridges.recognition.config import TrainingConfig
from bridges.recognition.state import TrainingState
from bridges.recognition.task_weighting import total_loss
from bridges.recognition.tasks import TaskOutput, mirror


class StepOutput(NamedTuple):
    """What a step computed, still on the device.

    Attributes:
      loss: the sum of the tasks' weighted losses.
      tasks: the output of each task.
    """

    loss: torch.Tensor
    tasks: dict[str, TaskOutput]


def train_step(
    state: TrainingState,
    images: torch.Tensor,
    targets: Mapping[str, torch.Tensor],
    config: TrainingConfig,
    *,
    progress: float,
    generator: torch.Generator,
) -> StepOutput:
    """One step of the optimiser, changing ``state`` in place.

    The backbone computes in the device's precision, augmentation and tasks in float32.

    Args:
      state: from :func:`bridges.recognition.state.init_training`.
      images: ``[b, 3, s, s]`` uint8 RGB, on the state's device.
      targets: the rows of each task's targets for these images, on that device.
      config: the settings.
      progress: fraction of the training that is done, 0 to 1.
      generator: source of the augmentation, see :func:`augment_telling`.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate_at(progress, config)
    strength = AUGMENTATIONS[config.augmentation]
    x, mirrored = augment_telling(images, strength, generator)
    with state.device.autocast():
        features = state.backbone(x)
    features = features.float()
    outputs = {
        name: task.loss(features, x, mirror(task, targets[name], mirrored), progress)
        for name, task in state.tasks.items()
    }
    loss = total_loss(state.tasks, outputs)
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()
    if config.gradient_clip:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_([*state.parameters().values()], config.gradient_clip)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    return StepOutput(loss.detach(), outputs)


def learning_rate_at(progress: float, config: TrainingConfig) -> float:
    """The learning rate when the fraction ``progress`` of the training is done."""
    if progress < config.warmup:
        # Not from 0: the first step should do something.
        return config.learning_rate * (0.02 + 0.98 * progress / config.warmup)
    if config.schedule == "multi_step":
        passed = sum(progress >= milestone for milestone in config.milestones)
        return config.learning_rate * 0.1**passed
    falling = (progress - config.warmup) / max(1 - config.warmup, 1e-9)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * falling))


def num_steps(num_images: int, config: TrainingConfig) -> int:
    """Steps of the whole training: ``epochs * num_images / batch_size``, rounded up."""
    return math.ceil(config.epochs * num_images / config.batch_size)


def batch_indices(num_images: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """The images of a step: a slice of the epochs' permutations laid end to end.

    Every image comes once an epoch, whatever the batch size; a batch may hold the end
    of one epoch and the start of the next.

    Returns:
      ``[batch_size]`` int64.
    """
    start = step * batch_size
    first, last = start // num_images, (start + batch_size - 1) // num_images
    orders = [_order(num_images, seed, epoch) for epoch in range(first, last + 1)]
    offset = start - first * num_images
    return np.concatenate(orders)[offset : offset + batch_size]


@functools.lru_cache(maxsize=2)
def _order(num_images: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(num_images)


def step_generator(seed: int, step: int) -> torch.Generator:
    """The source of a step's randomness, a function of seed and step; on the CPU."""
    # Hashed, so that the streams of neighbouring seeds and steps share nothing.
    words = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))
