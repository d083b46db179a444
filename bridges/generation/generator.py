"""The image generator: identity embeddings and seeds in, face images out."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from bridges import pretrained
from bridges.generation.autoencoder import AutoencoderConfig, FaceAutoencoder
from bridges.generation.latent_diffusion import (
    DiffusionConfig,
    IdentityDenoiser,
    sample_latents,
)
from bridges.generation.model_folder import (
    CONFIG,
    WEIGHTS,
    build_config,
    load_weights,
    read_description,
)
from bridges.pixels import to_pixels
from hyperface_jax import InputError, check_embeddings, files

KIND = "generator"
DEFAULT_GENERATOR = "latent_diffusion"
DEFAULT_GUIDANCE = 5.0
DEFAULT_STEPS = 10
# Rounding inside a matrix product depends on its shape. Every batch has this many rows,
# padded if need be, so that an image does not depend on how many are made with it.
BATCH_SIZE = 16


class GeneratorNetwork(nn.Module):
    """The two networks of a generator, as they are stored together."""

    def __init__(
        self, autoencoder: AutoencoderConfig, denoiser: DiffusionConfig
    ) -> None:
        super().__init__()
        self.autoencoder = FaceAutoencoder(autoencoder)
        self.denoiser = IdentityDenoiser(denoiser)


class Generator:
    """An identity-conditioned face generator.

    Attributes:
      network: the autoencoder and the denoiser.
      model: ``{"name", "sha256"}`` of this generator.
      recogniser: ``{"name", "sha256"}`` of the recogniser whose embeddings it takes.
      licence: what images it was trained on and how its own may be used, or None.
      embedding_size: length of an embedding.
      image_size: height and width of an image in pixels.
    """

    def __init__(
        self,
        network: GeneratorNetwork,
        *,
        model: dict[str, str],
        recogniser: dict[str, str],
        licence: str | None = None,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)
        self.model = model
        self.recogniser = recogniser
        self.licence = licence
        self.embedding_size = network.denoiser.config.embedding_size
        self.image_size = network.autoencoder.config.image_size

    def generate(
        self,
        embeddings: np.ndarray,
        seeds: Sequence[int] | np.ndarray,
        *,
        guidance: float = DEFAULT_GUIDANCE,
        steps: int = DEFAULT_STEPS,
    ) -> np.ndarray:
        """Makes an image for each embedding.

        An image is a function of its embedding, its seed and the two settings; what
        else is in the call does not matter. It is bit-equal on one kind of processor;
        another may round differently.

        Args:
          embeddings: ``[n, d]`` unit rows, in the space of :attr:`recogniser`.
          seeds: ``[n]`` integers in [0, 2⁶³), one ``torch.Generator`` each.
          guidance: how much the identity is exaggerated; 1 is not at all, at 5 images
            of a person look much alike.
          steps: solver steps.

        Returns:
          ``[n, s, s, 3]`` uint8 RGB.

        Raises:
          InputError: embeddings that are no unit rows of the right length, a seed for
            each is missing, or a setting out of range.
        """
        embeddings = np.asarray(embeddings)
        check_embeddings(embeddings, "embeddings")
        check_settings(guidance, steps)
        if embeddings.shape[1] != self.embedding_size:
            raise InputError(
                f"embeddings have {embeddings.shape[1]} entries, generator "
                f"{self.model['name']} takes {self.embedding_size}; embed the images "
                f"with {self.recogniser['name']}"
            )
        if len(seeds) != len(embeddings):
            raise InputError(f"{len(seeds)} seeds for {len(embeddings)} embeddings")
        with single_threaded():
            batches = [
                self._generate_batch(
                    embeddings[start : start + BATCH_SIZE],
                    seeds[start : start + BATCH_SIZE],
                    guidance,
                    steps,
                )
                for start in range(0, len(embeddings), BATCH_SIZE)
            ]
        return np.concatenate(batches)

    @torch.no_grad()
    def _generate_batch(
        self,
        embeddings: np.ndarray,
        seeds: Sequence[int] | np.ndarray,
        guidance: float,
        steps: int,
    ) -> np.ndarray:
        config = self.network.autoencoder.config
        shape = (config.latent_channels, config.latent_size, config.latent_size)
        noise = torch.zeros(BATCH_SIZE, *shape)
        conditions = torch.zeros(BATCH_SIZE, self.embedding_size)
        conditions[: len(embeddings)] = torch.from_numpy(
            np.ascontiguousarray(embeddings, np.float32)
        )
        for row, seed in enumerate(seeds):
            source = torch.Generator().manual_seed(int(seed))
            noise[row] = torch.randn(shape, generator=source)
        latents = sample_latents(
            self.network.denoiser, conditions, noise, guidance=guidance, steps=steps
        )
        return to_pixels(self.network.autoencoder.decode(latents))[: len(embeddings)]


def load_generator(
    name_or_folder: str | os.PathLike[str] = DEFAULT_GENERATOR,
) -> Generator:
    """Loads a generator that ships with the package, or one from a folder.

    Args:
      name_or_folder: ``"latent_diffusion"``, also called ``"embedded"``, or a folder
        that ``python -m bridges.generation.export`` wrote; see
        :func:`bridges.pretrained.find`.

    Raises:
      InputError: no such generator, or a damaged one.
    """
    folder = pretrained.find(name_or_folder)
    if not folder.is_dir():
        names = ", ".join(shipped_generators()) or "none"
        raise InputError(
            f"no generator {str(name_or_folder)!r}: it is no folder, and those that "
            f"ship are: {names}"
        )
    description = read_description(folder, KIND)
    network = GeneratorNetwork(
        build_config(folder, description, "autoencoder", AutoencoderConfig),
        build_config(folder, description, "denoiser", DiffusionConfig),
    )
    recogniser = description.get("recogniser")
    if not isinstance(recogniser, dict) or not {"name", "sha256"} <= set(recogniser):
        raise InputError(
            f"{folder / CONFIG}: no usable entry 'recogniser' (name and sha256 of the "
            "one whose embeddings it takes)"
        )
    load_weights(folder, network)
    model = {
        "name": description.get("name", folder.name),
        "sha256": files.sha256_of(folder / WEIGHTS),
    }
    return Generator(
        network,
        model=model,
        recogniser=recogniser,
        licence=description.get("licence"),
    )


def shipped_generators() -> list[str]:
    """Names of the generators that ship with the package."""
    found = []
    for path in sorted(pretrained.FOLDER.glob("*/config.json")):
        with contextlib.suppress(InputError):
            read_description(path.parent, KIND)
            found.append(path.parent.name)
    return found


def check_recogniser(recogniser: dict[str, str], generator: Generator) -> None:
    """Raises InputError unless ``generator`` takes embeddings of ``recogniser``."""
    wanted = generator.recogniser
    if recogniser["sha256"] != wanted["sha256"]:
        raise InputError(
            f"recogniser {recogniser['name']} ({recogniser['sha256'][:12]}…) is not "
            f"the one whose embeddings generator {generator.model['name']} takes, "
            f"{wanted['name']} ({wanted['sha256'][:12]}…); give that --recogniser, or "
            "none with a generator that ships"
        )


def check_settings(guidance: float, steps: int) -> None:
    """Raises InputError for a guidance or a number of steps that can't be meant."""
    if not 0 <= guidance <= 20:
        raise InputError(f"guidance {guidance} is not in [0, 20]; 1 to 5 is usual")
    if not 1 <= steps <= 1000:
        raise InputError(f"steps {steps} is not in 1 … 1000; 10 is usual")


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """One thread for torch: how a sum is split among threads changes its rounding."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def describe_generator(
    name: str,
    autoencoder: dict[str, Any],
    denoiser: dict[str, Any],
    licence: str | None = None,
) -> dict[str, Any]:
    """``config.json`` of a generator, from those of its two networks."""
    return {
        "kind": KIND,
        "name": name,
        **({"licence": licence} if licence else {}),
        "autoencoder": autoencoder["config"],
        "denoiser": denoiser["config"],
        "recogniser": denoiser["recogniser"],
        "training": {
            "autoencoder": autoencoder["training"],
            "denoiser": denoiser["training"],
        },
    }
