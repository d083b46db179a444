"""ControlNet: an image beside the embedding that says how the face is turned.

Arc2Face's ControlNet was trained on normals of the face: of every pixel the direction
of the surface, as a colour (its authors render them with EMOCA). Here they come from a
folder of such images, of which the seed of an image chooses one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel

from bridges.datasets.image_source import ImageSource
from bridges.datasets.images import decode_bytes, name_of, quiet_decoders
from bridges.devices import Device

# What a ControlNet adds to the denoising network, as keywords of the latter.
Residuals = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], dict[str, Any]]


class Control:
    """A ControlNet and the images that it is shown."""

    def __init__(
        self,
        network: ControlNetModel,
        images: ImageSource,
        image_size: int,
        device: Device,
    ) -> None:
        """Moves the network to a device.

        Args:
          network: in the type that it computes in.
          images: to choose from; resampled to ``image_size`` where they differ.
          image_size: of the images that are made, in pixels.
          device: where.
        """
        self._network = network.to(device.torch)
        self._images = images
        self._image_size = image_size

    def choose(self, seed: int) -> int:
        """Which of the images goes with a seed."""
        return int(np.random.default_rng(seed).integers(len(self._images)))

    def residuals(self, seeds: Sequence[int]) -> Residuals:
        """What is added for a batch of these seeds.

        Returns:
          A function of noisy latents ``[m, c, h, w]``, the step and prompts
          ``[m, 77, d]``; ``m`` is a multiple of the number of seeds.

        Raises:
          UnreadableImage: a damaged image.
        """
        hints = torch.stack([self._hint(seed) for seed in seeds])
        hints = hints.to(self._network.device, self._network.dtype)

        def of(
            x: torch.Tensor, step: torch.Tensor, prompts: torch.Tensor
        ) -> dict[str, Any]:
            down, middle = self._network(
                x,
                step,
                encoder_hidden_states=prompts,
                controlnet_cond=hints.repeat(len(x) // len(hints), 1, 1, 1),
                return_dict=False,
            )
            return {
                "down_block_additional_residuals": down,
                "mid_block_additional_residual": middle,
            }

        return of

    def _hint(self, seed: int) -> torch.Tensor:
        """``[3, s, s]`` in [0, 1]."""
        index = self.choose(seed)
        with quiet_decoders():
            pixels = decode_bytes(
                self._images.read(index),
                self._image_size,
                name_of(self._images, index),
            )
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float() / 255


def nothing_added(
    x: torch.Tensor, step: torch.Tensor, prompts: torch.Tensor
) -> dict[str, Any]:
    """The residuals of no ControlNet."""
    del x, step, prompts
    return {}
