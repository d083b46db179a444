"""Joins a trained autoencoder and a trained denoiser into a generator folder.

Weights are stored as float16, which halves the folder and changes images by less than
one grey level.

Example:
  python -m bridges.generators.latent_diffusion.export --autoencoder=autoencoder_2 \\
    --diffusion=diffusion --output=bridges/pretrained/latent_diffusion
"""

import pathlib

from absl import flags

from bridges.generators.generator import DEFAULT_GENERATOR, WEIGHTS
from hyperface_jax.commands import require_flags, run_command

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
    from bridges.generators.latent_diffusion.generator_export import export_generator

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
    """Entry point of ``python -m bridges.generators.latent_diffusion.export``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
