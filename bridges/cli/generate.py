"""Makes an image dataset of people who do not exist: many images per reference.

Takes packed references, as hyperface-pack writes them, and writes a folder of images
with their identities. Interrupted, the same command goes on, and the result is the one
it would have been. Example:

    hyperface-generate --references=references.npz --output=dataset
    hyperface-generate --references=references.npz --images_per_identity=16 \\
      --guidance=2 --output=varied

The output folder holds images/, metadata.jsonl, references.npz and dataset.json, and
is what hyperface-train takes.
"""

from absl import flags

from bridges.config_flags import config_from_flags, define_config_flags
from bridges.generation.generation_config import GenerationConfig
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

_HELP = {
    "generator": "what makes the images: embedded, or the folder of a generator of "
    "your own",
    "recogniser": "recogniser the references live in, name or folder",
    "images_per_identity": "images of each reference",
    "beta": "how far each image's embedding is turned away from its reference: "
    "standard deviation of the noise on each entry; 0.01 turns by about 13 degrees",
    "guidance": "how much the identity is exaggerated, after the first two fifths of "
    "the steps: 1 not at all; more gives images of a person that look more alike",
    "steps": "steps of the diffusion solver",
    "seed": "seed of the dataset",
    "num_processes": "worker processes, by default one a core; does not change the "
    "images",
}

flags.DEFINE_string(
    "references", None, "embedding file of the identities to show", flag_values=FLAGS
)
flags.DEFINE_string("output", None, "folder for the dataset", flag_values=FLAGS)
define_config_flags(GenerationConfig(), _HELP, FLAGS)


def main() -> None:
    """Makes the dataset that the flags describe."""
    require_flags(FLAGS, "references", "output")
    config = config_from_flags(GenerationConfig(), FLAGS)
    from bridges.generation.image_generation import generate_dataset

    generate_dataset(FLAGS.references, FLAGS.output, config)
    print(f"{FLAGS.output}: a dataset; train on it with hyperface-train --dataset")


def run() -> None:
    """Entry point of ``hyperface-generate``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
