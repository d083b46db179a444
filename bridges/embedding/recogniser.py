"""A trained recogniser: images in, unit embeddings out."""

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from bridges import pretrained
from bridges.datasets.images import read_images
from bridges.devices import Device, find_device
from bridges.pixels import to_unit_range
from bridges.recognition import checkpoint
from bridges.recognition.iresnet import IResNet
from hyperface_jax import InputError, checks, files
from hyperface_jax.commands import progress

# Images at once: 256 of 112 px are 10 MB.
_BATCH_SIZE = 256


class Recogniser:
    """A frozen network and what is needed to use it.

    Attributes:
      network: the backbone in evaluation mode, its parameters frozen; maps
        ``[n, 3, s, s]`` RGB in [-1, 1] to ``[n, d]``, not normalised.
      image_size: the side ``s`` of its input in pixels.
      embedding_size: ``d``.
      model: ``{"name", "sha256"}``: what embedding files remember.
      device: what it computes on.
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
        self.network.to(self.device.torch, memory_format=torch.channels_last)
        self.image_size = image_size
        self.embedding_size = embedding_size
        self.model = model

    def embed(
        self,
        images: np.ndarray,
        *,
        flip: bool = True,
        batch_size: int = _BATCH_SIZE,
    ) -> np.ndarray:
        """Embeds images.

        Args:
          images: ``[n, h, w, 3]`` uint8 RGB, square; resampled when of another size.
          flip: add the outputs of the image and its mirror image before normalising.
          batch_size: images at once; bounds the memory.

        Returns:
          ``[n, d]`` float32, unit rows.

        Raises:
          InputError: another shape or dtype.
        """
        try:
            images = np.asarray(images)
        except ValueError:
            raise InputError("images are no array: they differ in size") from None
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise InputError(
                f"images are {images.dtype} {images.shape}, expected uint8 "
                "[n, height, width, 3]"
            )
        if images.shape[1] != images.shape[2] or not images.shape[1]:
            raise InputError(f"images of shape {images.shape} are not square")
        checks.whole_number(batch_size, "batch_size", 1)
        embeddings = np.empty((len(images), self.embedding_size), np.float32)
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            embeddings[start : start + batch_size] = self._embed_batch(batch, flip)
        return embeddings

    def embed_files(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        flip: bool = True,
        description: str = "embedding",
    ) -> np.ndarray:
        """Embeds image files, a few in memory at a time, with a progress bar.

        Args:
          paths: the files; resampled when of another size.
          flip: as for :meth:`embed`.
          description: of the bar.

        Returns:
          ``[n, d]`` float32, unit rows.

        Raises:
          InputError: an unreadable image; names the file.
        """
        if isinstance(paths, str | os.PathLike) or not hasattr(paths, "__len__"):
            raise InputError(f"paths are {paths!r}, expected a sequence of files")
        embeddings = np.empty((len(paths), self.embedding_size), np.float32)
        bar = progress(description=description, total=len(paths), unit="image")
        with bar:
            for start in range(0, len(paths), _BATCH_SIZE):
                chosen = paths[start : start + _BATCH_SIZE]
                images = read_images(chosen, self.image_size)
                rows = slice(start, start + len(chosen))
                embeddings[rows] = self.embed(images, flip=flip)
                bar.update(len(chosen))
        return embeddings

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Intermediate feature maps, finest first, for perceptual losses.

        Args:
          x: ``[n, 3, s, s]`` in [-1, 1]; gradients flow through to it.
        """
        return self.network.feature_maps(x)

    @torch.inference_mode()
    def _embed_batch(self, images: np.ndarray, flip: bool) -> np.ndarray:
        x = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
        if x.shape[-1] != self.image_size:
            x = functional.interpolate(
                x, size=(self.image_size,) * 2, mode="bicubic", antialias=True
            )
        x = to_unit_range(self.device.take(x))
        with self.device.autocast():
            out = self.network(x).float()
            if flip:
                out = out + self.network(x.flip(3)).float()
        return functional.normalize(out, dim=1).cpu().numpy()


def load_recogniser(
    name_or_folder: str | os.PathLike[str] = "recogniser_f",
    *,
    device: str = "cpu",
    precision: str = "float32",
) -> Recogniser:
    """Loads a recogniser that ships, or one trained by ``train_recogniser``.

    Args:
      name_or_folder: ``"recogniser_f"``, or the folder of a checkpoint; see
        :func:`bridges.pretrained.find`.
      device: see :func:`bridges.devices.find_device`.
      precision: likewise.

    Raises:
      InputError: nothing there, an unfinished training, damaged files, or no such
        device.
    """
    folder = pretrained.find(name_or_folder)
    network = checkpoint.load_network(folder)
    config = checkpoint.read_config(folder)
    return Recogniser(
        network,
        image_size=config["image_size"],
        embedding_size=config["embedding_size"],
        model={
            "name": folder.resolve().name,
            "sha256": files.sha256_of(folder / checkpoint.WEIGHTS),
        },
        device=find_device(device, precision),
    )
