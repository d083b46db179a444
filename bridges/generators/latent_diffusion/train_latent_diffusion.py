"""Trains the identity-conditioned latent diffusion model on an image dataset.

Needs a trained autoencoder, whose latents it works in, and a recogniser, whose
embeddings it is conditioned on. A killed run is resumed by the same command.

Example:
  python -m bridges.generators.latent_diffusion.train_latent_diffusion \\
    --dataset=faces --autoencoder=autoencoder --recogniser=recogniser_f \\
    --output=diffusion --minutes=40 --num_processes=2
"""

from absl import flags, logging

from bridges import device_flags, folder_flags
from bridges.config_flags import config_from_flags, define_config_flags
from bridges.generators.latent_diffusion.training_config import (
    DESCRIPTIONS,
    DiffusionTrainingConfig,
)
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()
flags.DEFINE_string("dataset", None, "image dataset folder", flag_values=FLAGS)
flags.DEFINE_string(
    "autoencoder", None, "folder of the trained autoencoder", flag_values=FLAGS
)
flags.DEFINE_string(
    "recogniser", "recogniser_f", "recogniser, name or folder", flag_values=FLAGS
)
flags.DEFINE_string("output", None, "folder of the result", flag_values=FLAGS)
flags.DEFINE_string(
    "initial", None, "trained denoiser to start from", flag_values=FLAGS
)
folder_flags.define(FLAGS)
device_flags.define(FLAGS)
define_config_flags(DiffusionTrainingConfig(), DESCRIPTIONS, FLAGS)


def main() -> None:
    """Trains a denoiser with the settings that the flags give."""
    require_flags(FLAGS, "dataset", "autoencoder", "output")
    config = config_from_flags(DiffusionTrainingConfig(), FLAGS)
    from bridges.generators.latent_diffusion.diffusion_training import (
        train_latent_diffusion,
    )

    logging.set_verbosity(logging.INFO)
    train_latent_diffusion(
        FLAGS.dataset,
        FLAGS.autoencoder,
        FLAGS.recogniser,
        FLAGS.output,
        config,
        initial=FLAGS.initial,
        **folder_flags.given(FLAGS),
        **device_flags.given(FLAGS),
    )


def run() -> None:
    """Entry point of the command."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
