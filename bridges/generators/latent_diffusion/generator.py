"""The latent diffusion model in use: its two networks as a generator."""

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from bridges.devices import Device, single_threaded
from bridges.generators.generator import (
    ACCELERATOR_BATCH_SIZE,
    BATCH_SIZE,
    CONFIG,
    WEIGHTS,
    checked_embeddings,
    checked_seeds,
    checked_settings,
    find_folder,
)
from bridges.generators.latent_diffusion.autoencoder import (
    AutoencoderConfig,
    FaceAutoencoder,
)
from bridges.generators.latent_diffusion.denoiser import (
    DiffusionConfig,
    IdentityDenoiser,
)
from bridges.generators.latent_diffusion.sampler import SAMPLER_VERSION, sample_latents
from bridges.generators.latent_diffusion.settings import LatentDiffusionSettings
from bridges.model_folder import (
    build_config,
    build_to_fit,
    load_weights,
    read_description,
)
from bridges.pixels import to_pixels
from hyperface_jax import InputError, checks, files

KIND = "generator"


class GeneratorNetwork(nn.Module):
    """The two networks of a generator, as they are stored together."""

    def __init__(
        self, autoencoder: AutoencoderConfig, denoiser: DiffusionConfig
    ) -> None:
        super().__init__()
        self.autoencoder = FaceAutoencoder(autoencoder)
        self.denoiser = IdentityDenoiser(denoiser)


class LatentDiffusionGenerator:
    """A :class:`bridges.generators.generator.Generator`.

    Attributes:
      network: the autoencoder and the denoiser.
      device: what it computes on.
      batch_size: images computed at once.
      model: ``{"name", "sha256"}`` of this generator.
      recogniser: ``{"name", "sha256"}`` of the recogniser whose embeddings it takes.
      default_recogniser: the name of that recogniser.
      licence: what images it was trained on and how its own may be used, or None.
      embedding_size: length of an embedding.
      image_size: height and width of an image in pixels.
    """

    aligned = True
    version = SAMPLER_VERSION
    settings_type = LatentDiffusionSettings

    def __init__(
        self,
        network: GeneratorNetwork,
        *,
        model: dict[str, str],
        recogniser: dict[str, str],
        licence: str | None = None,
        device: Device | None = None,
        batch_size: int | None = None,
    ) -> None:
        """Moves the networks to a device.

        Args:
          network: changed in place.
          model: see the attributes.
          recogniser: see the attributes.
          licence: see the attributes.
          device: by default the CPU.
          batch_size: by default 16 on the CPU and 128 on an accelerator.

        Raises:
          InputError: a batch size that is no positive number.
        """
        self.device = device or Device()
        self.network = network.eval().requires_grad_(False)
        self.network.to(self.device.torch, memory_format=torch.channels_last)
        if batch_size is None:
            accelerated = self.device.is_accelerator
            batch_size = ACCELERATOR_BATCH_SIZE if accelerated else BATCH_SIZE
        checks.whole_number(batch_size, "batch_size", 1)
        self.batch_size = batch_size
        self.model = model
        self.recogniser = recogniser
        self.default_recogniser = recogniser["name"]
        self.licence = licence
        self.embedding_size = network.denoiser.config.embedding_size
        self.image_size = network.autoencoder.config.image_size

    def generate(
        self,
        embeddings: np.ndarray,
        seeds: Sequence[int] | np.ndarray,
        settings: LatentDiffusionSettings | None = None,
    ) -> np.ndarray:
        """Makes an image for each embedding.

        An image is a function of its embedding, its seed and the settings; what else is
        in the call does not matter. It is bit-equal on one kind of processor for one
        batch size; another may round differently.

        Args:
          embeddings: ``[n, d]`` unit rows, in the space of :attr:`recogniser`.
          seeds: ``[n]`` integers in [0, 2⁶³), one ``torch.Generator`` each.
          settings: guidance and steps.

        Returns:
          ``[n, s, s, 3]`` uint8 RGB.

        Raises:
          InputError: embeddings that are no unit rows of the right length, a seed for
            each is missing, or settings of another generator.
        """
        embeddings = checked_embeddings(self, embeddings)
        settings = checked_settings(self, settings)
        seeds = checked_seeds(seeds, len(embeddings))
        with single_threaded():
            batches = [
                self._generate_batch(
                    embeddings[start : start + self.batch_size],
                    seeds[start : start + self.batch_size],
                    settings,
                )
                for start in range(0, len(embeddings), self.batch_size)
            ]
        return np.concatenate(batches)

    def _generate_batch(
        self,
        embeddings: np.ndarray,
        seeds: Sequence[int],
        settings: LatentDiffusionSettings,
    ) -> np.ndarray:
        """The images of at most ``batch_size`` rows."""
        config = self.network.autoencoder.config
        shape = (config.latent_channels, config.latent_size, config.latent_size)
        noise = torch.zeros(self.batch_size, *shape)
        conditions = torch.zeros(self.batch_size, self.embedding_size)
        conditions[: len(embeddings)] = torch.from_numpy(
            np.array(embeddings, np.float32)
        )
        # On the CPU for every device: only there is a seed the same noise everywhere.
        for row, seed in enumerate(seeds):
            source = torch.Generator().manual_seed(seed)
            noise[row] = torch.randn(shape, generator=source)
        images = self.decode_noise(conditions, noise, settings)
        return to_pixels(images)[: len(embeddings)]

    @torch.no_grad()
    def decode_noise(
        self,
        conditions: torch.Tensor,
        noise: torch.Tensor,
        settings: LatentDiffusionSettings,
    ) -> torch.Tensor:
        """Images of noise, on the generator's device.

        Args:
          conditions: ``[n, d]`` unit rows or zero, on the CPU.
          noise: ``[n, c, h, w]`` standard normal, on the CPU.
          settings: guidance and steps.

        Returns:
          ``[n, 3, s, s]`` float32; they may leave [-1, 1] a little.
        """
        place = self.device.torch
        with self.device.autocast():
            latents = sample_latents(
                self.network.denoiser,
                conditions.to(place),
                noise.to(place),
                guidance=settings.guidance,
                steps=settings.steps,
            )
            return self.network.autoencoder.decode(latents)


def load(
    name_or_folder: str | os.PathLike[str],
    device: Device | None = None,
    batch_size: int | None = None,
) -> LatentDiffusionGenerator:
    """Loads the generator that ships, or one from a folder.

    Args:
      name_or_folder: ``"latent_diffusion"``, also called ``"embedded"``, or a folder
        that ``python -m bridges.generators.latent_diffusion.export`` wrote.
      device: what to compute on, by default the CPU.
      batch_size: images computed at once; None for the default of the device.

    Raises:
      InputError: no such generator, or a damaged one.
    """
    folder = find_folder(name_or_folder)
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
    return LatentDiffusionGenerator(
        network,
        model=model,
        recogniser=recogniser,
        licence=description.get("licence"),
        device=device,
        batch_size=batch_size,
    )
