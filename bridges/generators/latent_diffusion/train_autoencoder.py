"""Trains the face autoencoder on an image dataset.

The first phase trains all of it and needs nothing but images; it can start from a
trained autoencoder, also to give it more latent channels. Once a diffusion model lives
in the latents, --phase=decoder improves the decoder alone; latents stay as they are.
A recogniser's features can be a further judge. A killed run is resumed
by the same command.

Example:
  python -m bridges.generators.latent_diffusion.train_autoencoder \\
    --dataset=faces --output=autoencoder --minutes=25
  python -m bridges.generators.latent_diffusion.train_autoencoder \\
    --phase=decoder --dataset=faces --autoencoder=autoencoder \\
    --recogniser=recogniser_f --output=autoencoder_2 --minutes=8 --num_processes=2
"""

from absl import flags, logging

from bridges import device_flags, folder_flags
from bridges.config_flags import config_from_flags, define_config_flags
from bridges.generators.latent_diffusion.training_config import (
    DESCRIPTIONS,
    PHASES,
    AutoencoderTrainingConfig,
)
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()
flags.DEFINE_string("dataset", None, "image dataset folder", flag_values=FLAGS)
flags.DEFINE_string("output", None, "folder of the result", flag_values=FLAGS)
flags.DEFINE_string(
    "autoencoder", None, "trained autoencoder to start from", flag_values=FLAGS
)
flags.DEFINE_string(
    "recogniser", None, "recogniser whose features judge too", flag_values=FLAGS
)
flags.DEFINE_integer(
    "latent_channels",
    None,
    "number of latent channels; a trained autoencoder can gain some",
    lower_bound=1,
    flag_values=FLAGS,
)
folder_flags.define(FLAGS)
device_flags.define(FLAGS)
define_config_flags(
    AutoencoderTrainingConfig(),
    {
        **DESCRIPTIONS,
        "phase": "what to train",
        "feature_weight": "weight of the recogniser's features",
    },
    FLAGS,
    choices={"phase": PHASES},
)


def main() -> None:
    """Trains an autoencoder with the settings that the flags give."""
    require_flags(FLAGS, "dataset", "output")
    config = config_from_flags(AutoencoderTrainingConfig(), FLAGS)
    from bridges.generators.latent_diffusion.autoencoder_training import (
        train_autoencoder,
    )

    logging.set_verbosity(logging.INFO)
    train_autoencoder(
        FLAGS.dataset,
        FLAGS.output,
        config,
        latent_channels=FLAGS.latent_channels,
        autoencoder=FLAGS.autoencoder,
        recogniser=FLAGS.recogniser,
        **folder_flags.given(FLAGS),
        **device_flags.given(FLAGS),
    )


def run() -> None:
    """Entry point of the command."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
