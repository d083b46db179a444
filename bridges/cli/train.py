"""Trains a face recogniser from scratch on a folder of labelled images.

The folder is a dataset made by hyperface-render or hyperface-generate, or has one
folder of images per identity. Interrupted, the same command goes on. Example:

    hyperface-train --dataset=dataset --output=checkpoint
    hyperface-train --dataset=dataset --recipe=paper --output=checkpoint

The output folder holds model.safetensors, config.json and training.json, and is what
hyperface-verify and hyperface-embed take.
"""

from absl import flags

from bridges import folder_flags
from bridges.config_flags import config_from_flags, define_config_flags
from bridges.recognition.config import CHOICES, RECIPES, TrainingConfig
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

_HELP = {
    "backbone": "the network",
    "image_size": "side in pixels, a multiple of 16",
    "embedding_size": "length of an embedding",
    "head": "the margin loss",
    "margin": "margin of the head",
    "scale": "scale of the head, the inverse temperature of its softmax",
    "concentration": "AdaFace's h",
    "warm_start": "start AdaFace's norm statistics from the first batches",
    "margin_warmup": "fraction of the training over which the margin grows from 0",
    "epochs": "passes over the images; may be fractional",
    "batch_size": "images a step",
    "optimizer": "the optimiser",
    "learning_rate": "highest learning rate",
    "weight_decay": "weight decay; norms and biases are exempt",
    "schedule": "course of the learning rate",
    "warmup": "fraction of the training over which the learning rate grows from 0",
    "milestones": "fractions of the training at which multi_step divides by 10",
    "gradient_clip": "largest norm of the gradient; 0 never clips",
    "augmentation": "how strongly images are varied",
    "seed": "seed of weights, order and augmentation",
}

folder_flags.define_path_list(
    "dataset",
    "folder of images to train on, or several with commas; people of different folders "
    "are taken to be different ones",
    FLAGS,
)
flags.DEFINE_string("output", None, "folder for the recogniser", flag_values=FLAGS)
flags.DEFINE_enum(
    "recipe",
    "small",
    list(RECIPES),
    "settings to start from: small trains in minutes on a CPU, paper is HyperFace's; "
    "every other flag given overrides it",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "checkpoint_minutes", 1.0, "how often to save the state", flag_values=FLAGS
)
flags.DEFINE_integer(
    "num_threads",
    None,
    "threads to compute with, by default all cores",
    flag_values=FLAGS,
)
folder_flags.define(FLAGS)
define_config_flags(TrainingConfig(), _HELP, FLAGS, choices=CHOICES)


def main() -> None:
    """Trains with the recipe and the settings that the flags give."""
    require_flags(FLAGS, "dataset", "output")
    config = config_from_flags(RECIPES[FLAGS.recipe], FLAGS)
    from bridges.recognition.training import train_recogniser

    record = train_recogniser(
        FLAGS.dataset,
        FLAGS.output,
        config,
        checkpoint_minutes=FLAGS.checkpoint_minutes,
        num_threads=FLAGS.num_threads,
        **folder_flags.given(FLAGS),
    )
    last = record["history"][-1]
    print(
        f"{FLAGS.output}: trained on {record['data']['images']} images of "
        f"{record['data']['identities']} identities in {record['seconds'] / 60:.1f} "
        f"minutes; last epoch: loss {last['loss']:.3f}, accuracy {last['accuracy']:.3f}"
    )


def run() -> None:
    """Entry point of ``hyperface-train``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
