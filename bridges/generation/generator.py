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
from bridges.generation.generation_config import (
    DEFAULT_GENERATOR,
    DEFAULT_GUIDANCE,
    DEFAULT_STEPS,
    check_sampling,
)
from bridges.generation.latent_diffusion import (
    DiffusionConfig,
    IdentityDenoiser,
    sample_latents,
)
from bridges.generation.model_folder import (
    CONFIG,
    WEIGHTS,
    build_config,
    build_to_fit,
    load_weights,
    read_description,
)
from bridges.pixels import to_pixels
from hyperface_jax import InputError, check_embeddings, files

KIND = "generator"
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
        check_sampling(guidance, steps)
        if embeddings.shape[1] != self.embedding_size:
            raise InputError(
                f"embeddings have {embeddings.shape[1]} entries, generator "
                f"{self.model['name']} takes {self.embedding_size}; embed the images "
                f"with {self.recogniser['name']}"
            )
        seeds = _checked_seeds(seeds, len(embeddings))
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


def _checked_seeds(seeds: Sequence[int] | np.ndarray, count: int) -> list[int]:
    """The seeds as Python's numbers; raises InputError unless there is one for each."""
    seeds = np.asarray(seeds, object)
    if seeds.ndim != 1:
        raise InputError(f"seeds have shape {seeds.shape}, expected ({count},)")
    if len(seeds) != count:
        raise InputError(f"{len(seeds)} seeds for {count} embeddings")
    for seed in seeds:
        whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
        if not whole or not 0 <= seed < 2**63:
            raise InputError(f"seed {seed!r} is no whole number in [0, 2^63)")
    return [int(seed) for seed in seeds]


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
    shapes = (
        build_config(folder, description, "autoencoder", AutoencoderConfig),
        build_config(folder, description, "denoiser", DiffusionConfig),
    )
    network = build_to_fit(folder, lambda: GeneratorNetwork(*shapes))
    recogniser = description.get("recogniser")
    if not isinstance(recogniser, dict) or not all(
        isinstance(recogniser.get(key), str) for key in ("name", "sha256")
    ):
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
