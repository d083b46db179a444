"""Recognisers trained by ``hyperface-train``: an iResNet on any device of torch's."""

import pathlib

import numpy as np
import torch
from torch.nn import functional

from bridges.devices import Device
from bridges.pixels import to_unit_range
from bridges.pretrained import WEIGHTS
from bridges.recognisers.embedding import BATCH_SIZE, embed_batches
from bridges.recognition import checkpoint
from bridges.recognition.iresnet import IResNet
from hyperface_jax import files


class IResNetRecogniser:
    """A frozen network and what is needed to use it.

    Attributes:
      network: the backbone in evaluation mode, its parameters frozen; maps
        ``[n, 3, s, s]`` RGB in [-1, 1] to ``[n, d]``, not normalised.
      image_size: the side ``s`` of its input in pixels.
      embedding_size: ``d``.
      model: ``{"name", "sha256"}``: what embedding files remember.
      device: where the network computes, and how precisely.
    """

    def __init__(
        self,
        network: IResNet,
        *,
        image_size: int,
        embedding_size: int,
        model: dict[str, str],
        device: Device | None = None,
    ) -> None:
        self.device = device or Device()
        self.network = network.eval().requires_grad_(False)
        self.network = self.network.to(
            self.device.torch, memory_format=torch.channels_last
        )
        self.image_size = image_size
        self.embedding_size = embedding_size
        self.model = model

    def embed(
        self,
        images: np.ndarray,
        *,
        flip: bool = True,
        batch_size: int = BATCH_SIZE,
    ) -> np.ndarray:
        """Embeds images.

        Args:
          images: ``[n, h, h, 3]`` uint8 RGB; resampled when of another size.
          flip: add the outputs of the image and its mirror image before normalising.
          batch_size: images at once; bounds the memory.

        Returns:
          ``[n, d]`` float32, unit rows.

        Raises:
          InputError: another shape or dtype.
        """
        return embed_batches(
            lambda batch: self._embed_batch(batch, flip),
            images,
            image_size=self.image_size,
            embedding_size=self.embedding_size,
            batch_size=batch_size,
        )

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Intermediate feature maps, finest first, for perceptual losses.

        Args:
          x: ``[n, 3, s, s]`` in [-1, 1], on the recogniser's device; gradients flow
            through to it.
        """
        return self.network.feature_maps(x)

    @torch.inference_mode()
    def _embed_batch(self, images: np.ndarray, flip: bool) -> np.ndarray:
        x = self.device.take(torch.from_numpy(np.array(images))).permute(0, 3, 1, 2)
        x = to_unit_range(x)
        with self.device.autocast():
            out = self.network(x).float()
            if flip:
                out = out + self.network(x.flip(3)).float()
        return functional.normalize(out, dim=1).cpu().numpy()


def load_checkpoint(folder: pathlib.Path, device: Device) -> IResNetRecogniser:
    """Loads a checkpoint folder; a loader of :data:`RECOGNISERS`.

    Raises:
      InputError: no checkpoint there, an unfinished training, or damaged files.
    """
    network = checkpoint.load_network(folder)
    config = checkpoint.read_config(folder)
    return IResNetRecogniser(
        network,
        image_size=config["image_size"],
        embedding_size=config["embedding_size"],
        model={
            "name": folder.resolve().name,
            "sha256": files.sha256_of(folder / WEIGHTS),
        },
        device=device,
    )
