"""Recognisers trained by ``hyperface-train``: an iResNet on any device of torch's."""

import pathlib

import torch

from bridges.devices import Device
from bridges.pretrained import WEIGHTS
from bridges.recognisers.network import NetworkRecogniser
from bridges.recognition import checkpoint
from bridges.recognition.attribute_heads import load_heads
from bridges.recognition.iresnet import IResNet
from hyperface_jax import files


class IResNetRecogniser(NetworkRecogniser):
    """A backbone that takes RGB in [-1, 1], with feature maps to compare images by."""

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Intermediate feature maps, finest first, for perceptual losses.

        Args:
          x: ``[n, 3, s, s]`` in [-1, 1], on the recogniser's device; gradients flow
            through to it.
        """
        return self.network.feature_maps(x)


def load_checkpoint(folder: pathlib.Path, device: Device) -> NetworkRecogniser:
    """Loads a checkpoint folder; a loader of :data:`RECOGNISERS`.

    Raises:
      InputError: no checkpoint there, an unfinished training, or damaged files.
    """
    network = checkpoint.load_network(folder)
    config = checkpoint.read_config(folder)
    kind = IResNetRecogniser if isinstance(network, IResNet) else NetworkRecogniser
    return kind(
        network,
        image_size=config["image_size"],
        embedding_size=config["embedding_size"],
        model={
            "name": folder.resolve().name,
            "sha256": files.sha256_of(folder / WEIGHTS),
        },
        device=device,
        heads=load_heads(folder, config),
    )
