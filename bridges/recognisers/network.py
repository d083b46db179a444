"""Recognisers that are a network of torch, on any of its devices."""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from bridges.devices import Device
from bridges.pixels import to_unit_range
from bridges.recognisers.embedding import BATCH_SIZE, embed_batches
from bridges.recognition.attribute_heads import TrainedHeads


class Pixels(NamedTuple):
    """What a network was trained on; given anything else it fails without a word.

    Attributes:
      bgr: channels in the order blue, green, red.
      scaled: values in [-1, 1]; else 0 to 255, for networks that scale by themselves.
    """

    bgr: bool = False
    scaled: bool = True

    def prepared(self, images: torch.Tensor) -> torch.Tensor:
        """Turns ``[n, 3, s, s]`` uint8 RGB into what the network takes, float32."""
        x = images.flip(1) if self.bgr else images
        return to_unit_range(x) if self.scaled else x.float()


RGB = Pixels()


class NetworkRecogniser:
    """A frozen network and what is needed to use it.

    Attributes:
      network: in evaluation mode, its parameters frozen; maps ``[n, 3, s, s]`` to
        ``[n, d]``, not normalised.
      image_size: the side ``s`` of its input in pixels.
      embedding_size: ``d``.
      model: ``{"name", "sha256"}``: what embedding files remember.
      pixels: what it takes.
      device: where the network computes, and how precisely.
      batch_size: images at once, unless the caller says otherwise.
      heads: what reads attributes from its outputs, None where nothing does.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        *,
        image_size: int,
        embedding_size: int,
        model: dict[str, str],
        pixels: Pixels = RGB,
        device: Device | None = None,
        batch_size: int = BATCH_SIZE,
        heads: TrainedHeads | None = None,
    ) -> None:
        self.device = device or Device()
        self.network = network.eval().requires_grad_(False)
        self.network = self.network.to(
            self.device.torch, memory_format=torch.channels_last
        )
        self.image_size = image_size
        self.embedding_size = embedding_size
        self.model = model
        self.pixels = pixels
        self.batch_size = batch_size
        self.heads = heads
        for head in heads.heads.values() if heads else ():
            head.to(self.device.torch)

    def embed(
        self,
        images: np.ndarray,
        *,
        flip: bool = True,
        batch_size: int | None = None,
    ) -> np.ndarray:
        """Embeds images.

        Args:
          images: ``[n, h, h, 3]`` uint8 RGB; resampled when of another size.
          flip: add the outputs of the image and its mirror image before normalising,
            as insightface and AdaFace do.
          batch_size: images at once; bounds the memory. None for the recogniser's.

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
            batch_size=self.batch_size if batch_size is None else batch_size,
        )

    @torch.inference_mode()
    def outputs(self, images: np.ndarray, *, flip: bool) -> list[torch.Tensor]:
        """What the network gives for images, and with ``flip`` for their mirror images.

        Args:
          images: ``[n, s, s, 3]`` uint8 RGB of its own size.
          flip: see above.

        Returns:
          One or two of ``[n, d]`` float32, not normalised, on the device.
        """
        x = self.device.take(torch.from_numpy(np.array(images))).permute(0, 3, 1, 2)
        x = self.pixels.prepared(x)
        with self.device.autocast():
            out = [self.network(x).float()]
            if flip:
                out.append(self.network(x.flip(3)).float())
        return out

    def _embed_batch(self, images: np.ndarray, flip: bool) -> np.ndarray:
        return unit_rows(self.outputs(images, flip=flip))


def unit_rows(outputs: list[torch.Tensor]) -> np.ndarray:
    """Embeddings of :meth:`NetworkRecogniser.outputs`: their sum, made unit."""
    return functional.normalize(sum(outputs), dim=1).cpu().numpy()
