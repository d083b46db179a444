"""Steps of a recognition training: state, learning rate, order of images, update.

Nothing random outlives a step: the order of the images is a function of the seed and
the epoch, the augmentation of the seed and the step.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from bridges.recognition.augmentation import AUGMENTATIONS, augment
from bridges.recognition.config import TrainingConfig
from bridges.recognition.iresnet import build_backbone
from bridges.recognition.margins import build_head


class TrainingState(NamedTuple):
    """What changes during a training.

    Attributes:
      backbone: the network kept in the end.
      head: the margin head.
      optimizer: of both.
    """

    backbone: nn.Module
    head: nn.Module
    optimizer: torch.optim.Optimizer


def init_training(config: TrainingConfig, num_identities: int) -> TrainingState:
    """Draws backbone and head from ``config.seed``; leaves the global generator be."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        backbone = build_backbone(
            config.backbone,
            image_size=config.image_size,
            embedding_size=config.embedding_size,
        )
        head = build_head(
            config.head,
            config.embedding_size,
            num_identities,
            scale=config.scale,
            margin=config.margin,
            concentration=config.concentration,
            warm_start=config.warm_start,
        )
    backbone = backbone.to(memory_format=torch.channels_last)
    parameters = [*trainable(backbone, head).values()]
    groups = [
        {
            "params": [p for p in parameters if p.ndim > 1],
            "weight_decay": config.weight_decay,
        },
        # Scales, offsets and PReLU slopes are vectors: decaying them towards 0 means
        # nothing.
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        optimizer = torch.optim.AdamW(
            groups, lr=config.learning_rate, betas=(0.9, 0.99)
        )
    else:
        optimizer = torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9)
    return TrainingState(backbone, head, optimizer)


def train_step(
    state: TrainingState,
    images: torch.Tensor,
    labels: torch.Tensor,
    config: TrainingConfig,
    *,
    done: float,
    generator: torch.Generator,
) -> tuple[float, float]:
    """One step of the optimiser, changing ``state`` in place.

    Args:
      state: from :func:`init_training`.
      images: ``[b, 3, s, s]`` uint8 RGB.
      labels: ``[b]`` int64.
      config: the settings.
      done: fraction of the training that lies behind, 0 to 1.
      generator: the source of the augmentation.

    Returns:
      The loss, and the fraction of images nearest to their own class.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate_at(done, config)
    margin_weight = min(1.0, done / config.margin_warmup) if config.margin_warmup else 1
    x = augment(images, AUGMENTATIONS[config.augmentation], generator)
    out = state.head(state.backbone(x), labels, margin_weight)
    loss = nn.functional.cross_entropy(out.logits, labels)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if config.gradient_clip:
        nn.utils.clip_grad_norm_(
            [*trainable(state.backbone, state.head).values()], config.gradient_clip
        )
    state.optimizer.step()
    accuracy = (out.cosines.argmax(1) == labels).float().mean()
    return loss.item(), accuracy.item()


def learning_rate_at(done: float, config: TrainingConfig) -> float:
    """The learning rate when the fraction ``done`` of the training lies behind."""
    if done < config.warmup:
        # Not from 0: the first step should do something.
        return config.learning_rate * (0.02 + 0.98 * done / config.warmup)
    if config.schedule == "multi_step":
        passed = sum(done >= milestone for milestone in config.milestones)
        return config.learning_rate * 0.1**passed
    falling = (done - config.warmup) / max(1 - config.warmup, 1e-9)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * falling))


def num_steps(num_images: int, config: TrainingConfig) -> int:
    """Steps of the whole training: ``epochs * num_images / batch_size``, rounded up."""
    return math.ceil(config.epochs * num_images / config.batch_size)


def batch_indices(num_images: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Which images a step takes: a slice of the epochs' shuffles laid end to end.

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
    """The source of a step's randomness: a function of seed and step alone."""
    # Hashed, so that the streams of neighbouring seeds and steps share nothing.
    words = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))


def trainable(backbone: nn.Module, head: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name."""
    return {
        f"{prefix}.{name}": parameter
        for prefix, module in (("backbone", backbone), ("head", head))
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }
