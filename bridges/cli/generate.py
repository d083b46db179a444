"""Makes an image dataset of people who do not exist: many images per reference.

Takes packed references, as hyperface-pack writes them, and writes a folder of images
with their identities. After an interruption the same command resumes, and the result is
the one it would have been. Example:

    hyperface-generate --references=references.npz --output=dataset
    hyperface-generate --references=references.npz --images_per_identity=16 \\
      --guidance=2 --output=varied

The output folder holds images/, metadata.jsonl, references.npz and dataset.json, and
is what hyperface-train takes.
"""

import dataclasses

from absl import flags

from bridges import device_flags
from bridges.config_flags import config_from_flags, define_config_flags
from bridges.generation.generation_config import GenerationConfig
from bridges.generators import settings_flags
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

_HELP = {
    "generator": "what makes the images: embedded, or the folder of a generator of "
    "your own",
    "recogniser": "recogniser the references live in, name or folder",
    "images_per_identity": "images of each reference",
    "beta": "how far each image's embedding is turned away from its reference: "
    "standard deviation of the noise on each entry; 0.01 turns by about 13 degrees",
    "seed": "seed of the dataset",
    "num_processes": "worker processes, by default one per core; does not change the "
    "images; a GPU is used by one process",
    "batch_size": "images computed at once, by default 16 on a CPU and 128 on a GPU; "
    "images of another batch size may be rounded differently",
}

flags.DEFINE_string(
    "references", None, "embedding file of the identities to show", flag_values=FLAGS
)
flags.DEFINE_string("output", None, "folder for the dataset", flag_values=FLAGS)
define_config_flags(GenerationConfig(), _HELP, FLAGS)
_SETTINGS = settings_flags.define(FLAGS)
device_flags.define(FLAGS)


def main() -> None:
    """Makes the dataset that the flags describe."""
    require_flags(FLAGS, "references", "output")
    config = dataclasses.replace(
        config_from_flags(GenerationConfig(), FLAGS),
        settings=settings_flags.given(FLAGS.generator, _SETTINGS, FLAGS),
    )
    from bridges.generation.image_generation import generate_dataset

    generate_dataset(
        FLAGS.references, FLAGS.output, config, **device_flags.given(FLAGS)
    )
    print(f"{FLAGS.output}: a dataset; train on it with hyperface-train --dataset")


def run() -> None:
    """Entry point of ``hyperface-generate``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
