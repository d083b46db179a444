"""Two trained networks joined into a generator folder."""

import os
import pathlib
from typing import Any

import torch

from bridges.generators.generator import DEFAULT_GENERATOR
from bridges.generators.latent_diffusion.autoencoder import AutoencoderConfig
from bridges.generators.latent_diffusion.denoiser import DiffusionConfig
from bridges.generators.latent_diffusion.generator import KIND, GeneratorNetwork
from bridges.generators.latent_diffusion.model_folder import (
    WEIGHTS,
    build_config,
    load_weights,
    read_description,
    save_model,
)
from hyperface_jax import InputError


def export_generator(
    autoencoder: str | os.PathLike[str],
    diffusion: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    name: str = DEFAULT_GENERATOR,
    licence: str | None = None,
) -> None:
    """Writes a generator folder.

    Args:
      autoencoder: folder of the trained autoencoder, of either phase.
      diffusion: folder of the trained denoiser.
      output: folder to write; no model may be there yet.
      name: what the generator is called in the files it makes.
      licence: what it was trained on and how its images may be used; datasets made
        with it repeat that. Nothing is claimed without.

    Raises:
      InputError: an unfinished model, a denoiser of other latents, or an output that
        holds a model.
    """
    if (pathlib.Path(output) / WEIGHTS).exists():
        raise InputError(
            f"{output}: there is a model already; remove it, or name another output"
        )
    first = read_description(autoencoder, "autoencoder")
    second = read_description(diffusion, "latent diffusion")
    network = GeneratorNetwork(
        build_config(autoencoder, first, "config", AutoencoderConfig),
        build_config(diffusion, second, "config", DiffusionConfig),
    )
    load_weights(autoencoder, network.autoencoder)
    load_weights(diffusion, network.denoiser)
    if network.autoencoder.latents_digest() != second["autoencoder_latents"]:
        raise InputError(
            f"{diffusion}: trained on the latents of another autoencoder than "
            f"{autoencoder}; only its decoder may differ"
        )
    description = _description(name, first, second, licence)
    save_model(output, network, description, dtype=torch.float16)


def _description(
    name: str,
    autoencoder: dict[str, Any],
    denoiser: dict[str, Any],
    licence: str | None,
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
