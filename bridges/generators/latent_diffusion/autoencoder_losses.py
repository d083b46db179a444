"""Distances between decoded images and the originals."""

from collections.abc import Callable

import torch
from torch.nn import functional

from bridges.devices import Device
from bridges.recognisers.recogniser import load_recogniser, perceptual

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def reconstruction_losses(
    decoded: torch.Tensor,
    images: torch.Tensor,
    *,
    gradient_weight: float,
    coarse_weight: float,
) -> dict[str, torch.Tensor]:
    """Weighted L1 distances between images, by name.

    Args:
      decoded: ``[n, 3, s, s]``.
      images: ``[n, 3, s, s]``, the originals.
      gradient_weight: of the distance between image gradients.
      coarse_weight: of the distance at half and at a quarter of the resolution.
    """
    error = decoded - images
    losses = {
        "l1": error.abs().mean(),
        "gradient": gradient_weight * _gradient_size(error),
    }
    for scale in (2, 4):
        coarse = functional.avg_pool2d(error, scale).abs().mean()
        losses[f"l1/{scale}"] = coarse_weight * coarse
    return losses


def feature_distance(recogniser: str, device: Device | None = None) -> Distance:
    """A distance between images: of a recogniser's normalised feature maps.

    Args:
      recogniser: its name or folder.
      device: where the images will be, by default the CPU.

    Returns:
      A function of decoded images and of the originals, each ``[n, 3, s, s]`` in
      [-1, 1]; gradients flow to the decoded ones alone.

    Raises:
      InputError: no such recogniser, or one without feature maps.
    """
    device = device or Device()
    where = {"device": device.name, "precision": device.precision}
    judge = perceptual(load_recogniser(recogniser, **where))

    def features(images: torch.Tensor) -> list[torch.Tensor]:
        if images.shape[-1] != judge.image_size:
            size = (judge.image_size,) * 2
            images = functional.interpolate(
                images, size=size, mode="bilinear", antialias=True
            )
        return judge.features(images)

    def distance(decoded: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            targets = features(images)
        # In float32, of whatever precision the features are.
        pairs = [
            (functional.normalize(x.float()), functional.normalize(y.float()))
            for x, y in zip(features(decoded), targets, strict=True)
        ]
        terms = [(x - y).square().sum(1).mean() for x, y in pairs]
        return sum(terms) / len(terms)

    return distance


def _gradient_size(image: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference between neighbouring pixels, both directions."""
    horizontal = (image[..., 1:] - image[..., :-1]).abs().mean()
    vertical = (image[..., 1:, :] - image[..., :-1, :]).abs().mean()
    return horizontal + vertical
