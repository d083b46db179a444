"""Joins a trained autoencoder and a trained denoiser into a generator folder.

Weights are stored as float16, which halves the folder and changes images by less than
one grey level.

Example:
  python -m bridges.generation.export --autoencoder=autoencoder_2 \\
    --diffusion=diffusion --output=bridges/pretrained/latent_diffusion
"""

import os
import pathlib

import torch
from absl import flags

from bridges.generation.autoencoder import AutoencoderConfig
from bridges.generation.generator import (
    DEFAULT_GENERATOR,
    GeneratorNetwork,
    describe_generator,
)
from bridges.generation.latent_diffusion import DiffusionConfig
from bridges.generation.model_folder import (
    WEIGHTS,
    build_config,
    load_weights,
    read_description,
    save_model,
)
from hyperface_jax import InputError
from hyperface_jax.commands import require_flags, run_command


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
    description = describe_generator(name, first, second, licence)
    save_model(output, network, description, dtype=torch.float16)


FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "autoencoder", None, "folder of the trained autoencoder", flag_values=FLAGS
)
flags.DEFINE_string(
    "diffusion", None, "folder of the trained denoiser", flag_values=FLAGS
)
flags.DEFINE_string("output", None, "folder to write", flag_values=FLAGS)
flags.DEFINE_string(
    "name",
    DEFAULT_GENERATOR,
    "what the generator is called in the files it makes",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "licence",
    None,
    "what it was trained on and how its images may be used; datasets repeat it",
    flag_values=FLAGS,
)


def main() -> None:
    """Joins the models that the flags name; prints the size of the result."""
    require_flags(FLAGS, "autoencoder", "diffusion", "output")
    export_generator(
        FLAGS.autoencoder,
        FLAGS.diffusion,
        FLAGS.output,
        name=FLAGS.name,
        licence=FLAGS.licence,
    )
    size = (pathlib.Path(FLAGS.output) / WEIGHTS).stat().st_size
    print(f"{FLAGS.output}: {size / 1e6:.1f} MB")


def run() -> None:
    """Entry point of ``python -m bridges.generation.export``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
