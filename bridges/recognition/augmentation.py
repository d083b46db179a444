"""Augmentation of face batches, on the device they are on."""

from typing import NamedTuple

import torch
from torch.nn import functional

from bridges.pixels import to_unit_range
from bridges.recognition.adaface_augmentation import crop, jitter, resample
from bridges.recognition.augmentation_strengths import (
    AUGMENTATIONS as AUGMENTATIONS,
)
from bridges.recognition.augmentation_strengths import Augmentation
from bridges.recognition.draws import Draws, Part


class Augmented(NamedTuple):
    """A batch that was varied.

    Attributes:
      images: ``[n, 3, h, w]`` float32 in about [-1, 1], channels last in memory.
      mirrored: ``[n]`` bool, which of them are mirror images.
    """

    images: torch.Tensor
    mirrored: torch.Tensor


def augment(
    images: torch.Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
    part: Part | None = None,
) -> torch.Tensor:
    """The images of :func:`augment_telling`."""
    return augment_telling(images, augmentation, generator, part).images


def augment_telling(
    images: torch.Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
    part: Part | None = None,
) -> Augmented:
    """Varies a batch, and tells what of it changes where a face looks.

    Nothing waits for the device.

    Args:
      images: ``[n, 3, h, w]`` uint8 RGB.
      augmentation: how strongly.
      generator: source of all randomness, on the CPU.
      part: where the images stand in the batch of their step, by default all of it:
        an image is varied alike whichever process has it.

    Returns:
      Images and which were mirrored, on the device.
    """
    draws = Draws(len(images), generator, images.device, part)
    x, mirrored = _move(images, augmentation, draws)
    x = to_unit_range(x)
    if augmentation.crop:
        x = crop(x, augmentation.crop, draws)
    if augmentation.resample:
        x = resample(x, augmentation.resample, draws)
    if augmentation.jitter:
        x = jitter(x, augmentation.jitter, draws)
    if augmentation.low_resolution:
        x = _lower_resolution(x, augmentation.low_resolution, draws)
    x = x * (1 + augmentation.contrast * draws.normal(1, 1, 1))
    x = x + augmentation.brightness * draws.normal(1, 1, 1)
    x = x + augmentation.cast * draws.normal(3, 1, 1)
    if augmentation.noise:
        strength = draws.uniform(1, 1, 1).to(x.device)
        x = x + augmentation.noise * strength * draws.pixel_noise(x)
    # A little room beyond the range keeps some order among over-exposed pixels.
    x = x.clamp(-1.2, 1.2)
    return Augmented(x.contiguous(memory_format=torch.channels_last), mirrored)


def _move(
    images: torch.Tensor, augmentation: Augmentation, draws: Draws
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirrors some images and shifts each, by gathering rows and columns.

    Returns:
      ``[n, 3, h, w]`` images, and ``[n]`` which of them were mirrored.
    """
    n, _, height, width = images.shape
    down, right = draws.offsets(augmentation.shift)
    flipped = draws.uniform(1) < augmentation.flip
    rows = (torch.arange(height) + down).clamp(0, height - 1)
    columns = (torch.arange(width) + right).clamp(0, width - 1)
    columns = torch.where(flipped, width - 1 - columns, columns)
    rows, columns = rows.to(images.device), columns.to(images.device)
    each = torch.arange(n, device=images.device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]]
    mirrored = flipped[:, 0].to(images.device, non_blocking=True)
    return moved.permute(0, 3, 1, 2), mirrored


def _lower_resolution(
    x: torch.Tensor, probability: float, draws: Draws
) -> torch.Tensor:
    """Reduces a random part of the batch to one random size and enlarges it again."""
    size = x.shape[-1]
    chosen = draws.uniform() < probability
    small = draws.whole(size // 4, size)
    if not chosen.any():
        return x
    # As positions: selecting by a mask on an accelerator waits for it.
    chosen = chosen.nonzero()[:, 0].to(x.device)
    reduced = functional.interpolate(
        x[chosen], size=(small, small), mode="bilinear", antialias=True
    )
    x = x.clone()
    x[chosen] = functional.interpolate(
        reduced, size=x.shape[-2:], mode="bilinear", align_corners=False
    )
    return x
