"""Augmentation of face batches, on the device they are on."""

from typing import NamedTuple

import torch
from torch.nn import functional

from bridges.pixels import to_unit_range
from bridges.recognition.augmentation_strengths import (
    AUGMENTATIONS as AUGMENTATIONS,
)
from bridges.recognition.augmentation_strengths import Augmentation


class Augmented(NamedTuple):
    """A batch that was varied.

    Attributes:
      images: ``[n, 3, h, w]`` float32 in about [-1, 1], channels last in memory.
      mirrored: ``[n]`` bool, which of them are mirror images.
    """

    images: torch.Tensor
    mirrored: torch.Tensor


def augment(
    images: torch.Tensor, augmentation: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    """The images of :func:`augment_telling`."""
    return augment_telling(images, augmentation, generator).images


def augment_telling(
    images: torch.Tensor, augmentation: Augmentation, generator: torch.Generator
) -> Augmented:
    """Varies a batch, and tells what of it changes where a face looks.

    What is drawn for each image is drawn on the CPU, so that it is the same on every
    device. Pixel noise, the only large draw, comes on an accelerator from a generator
    there, whose seed is drawn on the CPU. Nothing waits for the device.

    Args:
      images: ``[n, 3, h, w]`` uint8 RGB.
      augmentation: how strongly.
      generator: source of all randomness, on the CPU.

    Returns:
      Images and which were mirrored, on the device.
    """

    n, device = len(images), images.device

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(device, non_blocking=True)

    x, mirrored = _move(images, augmentation, generator)
    x = to_unit_range(x)
    if augmentation.low_resolution:
        x = _lower_resolution(x, augmentation.low_resolution, generator)
    x = x * (1 + augmentation.contrast * normal(n, 1, 1, 1))
    x = x + augmentation.brightness * normal(n, 1, 1, 1)
    x = x + augmentation.cast * normal(n, 3, 1, 1)
    if augmentation.noise:
        strength = torch.rand(n, 1, 1, 1, generator=generator).to(device)
        x = x + augmentation.noise * strength * _pixel_noise(x, generator)
    # A little room beyond the range keeps some order among over-exposed pixels.
    x = x.clamp(-1.2, 1.2)
    return Augmented(x.contiguous(memory_format=torch.channels_last), mirrored)


def _pixel_noise(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Standard normal numbers of the shape of ``x``, where it is."""
    if x.device.type == "cpu":
        return torch.randn(x.shape, generator=generator)
    seed = int(torch.randint(2**63 - 1, (1,), generator=generator))
    there = torch.Generator(x.device).manual_seed(seed)
    return torch.randn(x.shape, generator=there, device=x.device)


def _move(
    images: torch.Tensor, augmentation: Augmentation, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirrors some images and shifts each, by gathering rows and columns.

    Returns:
      ``[n, 3, h, w]`` images, and ``[n]`` which of them were mirrored.
    """
    n, _, height, width = images.shape
    limit = augmentation.shift
    down, right = torch.randint(-limit, limit + 1, (2, n, 1), generator=generator)
    flipped = torch.rand(n, 1, generator=generator) < augmentation.flip
    rows = (torch.arange(height) + down).clamp(0, height - 1)
    columns = (torch.arange(width) + right).clamp(0, width - 1)
    columns = torch.where(flipped, width - 1 - columns, columns)
    rows, columns = rows.to(images.device), columns.to(images.device)
    each = torch.arange(n, device=images.device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]]
    mirrored = flipped[:, 0].to(images.device, non_blocking=True)
    return moved.permute(0, 3, 1, 2), mirrored


def _lower_resolution(
    x: torch.Tensor, probability: float, generator: torch.Generator
) -> torch.Tensor:
    """Reduces a random part of the batch to one random size and enlarges it again."""
    size = x.shape[-1]
    chosen = torch.rand(len(x), generator=generator) < probability
    small = int(torch.randint(size // 4, size, (1,), generator=generator))
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
