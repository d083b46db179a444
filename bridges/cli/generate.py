"""Makes an image dataset of people who do not exist: many images per reference.

Takes packed references, as hyperface-pack writes them, and writes a folder of images
with their identities. Interrupted, the same command goes on, and the result is the one
it would have been. Example:

    hyperface-generate --references=references.npz --output=dataset
    hyperface-generate --references=references.npz --images_per_identity=16 \\
      --guidance=1.5 --output=varied

The output folder holds images/, metadata.jsonl, references.npz and dataset.json, and
is what hyperface-train takes.
"""

import dataclasses

from absl import flags

from bridges.generation.image_generation import GenerationConfig, generate_dataset
from hyperface_jax import InputError
from hyperface_jax.commands import run_command

FLAGS = flags.FlagValues()

_DEFAULT = GenerationConfig()
flags.DEFINE_string(
    "references", None, "embedding file of the identities to show", flag_values=FLAGS
)
flags.DEFINE_string("output", None, "folder for the dataset", flag_values=FLAGS)
flags.DEFINE_string(
    "generator",
    _DEFAULT.generator,
    "what makes the images: embedded, or the folder of a generator of your own",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "recogniser",
    _DEFAULT.recogniser,
    "recogniser the references live in, name or folder",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "images_per_identity",
    _DEFAULT.images_per_identity,
    "images of each reference",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "beta",
    _DEFAULT.beta,
    "how far each image's embedding is turned away from its reference: standard "
    "deviation of the noise on each entry; 0.01 turns by about 13 degrees",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "guidance",
    _DEFAULT.guidance,
    "how much the identity is exaggerated: 1 not at all; more gives images of a person "
    "that look more alike",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "steps", _DEFAULT.steps, "steps of the diffusion solver", flag_values=FLAGS
)
flags.DEFINE_integer("seed", _DEFAULT.seed, "seed of the dataset", flag_values=FLAGS)
flags.DEFINE_integer(
    "num_processes",
    _DEFAULT.num_processes,
    "worker processes, by default one a core; does not change the images",
    flag_values=FLAGS,
)


def config_from_flags() -> GenerationConfig:
    """The settings that the flags give."""
    names = [field.name for field in dataclasses.fields(GenerationConfig)]
    return GenerationConfig(**{name: FLAGS[name].value for name in names})


def main() -> None:
    """Flags to a dataset folder."""
    for name in ("references", "output"):
        if not FLAGS[name].value:
            raise InputError(f"--{name} is missing; see --help")
    generate_dataset(FLAGS.references, FLAGS.output, config_from_flags())
    print(f"{FLAGS.output}: a dataset; train on it with hyperface-train --dataset")


def run() -> None:
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
