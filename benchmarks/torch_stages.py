"""The stages in torch as calls to be timed, on the device that ``auto`` takes."""

from collections.abc import Callable

import numpy as np
import torch

from bridges.devices import find_device
from bridges.generators.generator import load_generator
from bridges.recognisers.iresnet import IResNetRecogniser
from bridges.recognition.backbones import build_backbone
from bridges.recognition.config import TrainingConfig
from bridges.recognition.state import init_training
from bridges.recognition.steps import step_generator, train_step

Call = Callable[[], np.ndarray]


class People:
    """What a task needs to know of a source: who is on the images."""

    def __init__(self, num_identities: int, labels: np.ndarray) -> None:
        self.identities = range(num_identities)
        self.labels = labels


def embedding(backbone: str, size: int, batch: int, precision: str) -> Call:
    """Embeds a batch ``[batch, size, size, 3]`` and its mirror images.

    Args:
      backbone: a key of ``architectures.ARCHITECTURES``, of random weights.
      size: side in pixels.
      batch: images a call.
      precision: of the network.
    """
    torch.manual_seed(0)
    recogniser = IResNetRecogniser(
        build_backbone(backbone, image_size=size),
        image_size=size,
        embedding_size=512,
        model={"name": backbone, "sha256": ""},
        device=find_device("auto", precision, quiet=True),
    )
    images = _pixels(batch, size)
    return lambda: recogniser.embed(images, batch_size=batch)


def generation(count: int, precision: str) -> Call:
    """Generates ``count`` images by the generator that ships, its settings default."""
    place = find_device("auto", precision, quiet=True)
    generator = load_generator(device=place.name, precision=precision)
    rows = np.random.default_rng(0).standard_normal((count, 512)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return lambda: generator.generate(rows, range(count))


def training(backbone: str, size: int, batch: int, precision: str) -> Call:
    """Does a step of training on a batch in host memory; augmentation is in it.

    Args:
      backbone: a key of ``architectures.ARCHITECTURES``.
      size: side in pixels.
      batch: images a step.
      precision: of the backbone.
    """
    config = TrainingConfig(backbone=backbone, image_size=size, batch_size=batch)
    device = find_device("auto", precision, quiet=True)
    labels = np.random.default_rng(1).integers(0, 4000, batch)
    state = init_training(config, [People(4000, labels)], device)
    images = torch.from_numpy(_pixels(batch, size)).permute(0, 3, 1, 2)
    step = 0

    def call() -> np.ndarray:
        nonlocal step
        step += 1
        out = train_step(
            state,
            images.to(device.torch),
            {"identity": torch.from_numpy(labels).to(device.torch)},
            config,
            progress=0.5,
            generator=step_generator(0, step),
        )
        return out.loss.cpu().numpy()

    return call


def _pixels(batch: int, size: int) -> np.ndarray:
    shape = (batch, size, size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
