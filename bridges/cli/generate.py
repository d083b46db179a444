"""Makes an image dataset of people who do not exist: many images per reference.

Takes packed references, as hyperface-pack writes them, and writes images with their
identities. After an interruption the same command resumes, and the result is the one it
would have been. Example:

    hyperface-generate --references=references.npz --output=dataset
    hyperface-generate --references=references.npz --images_per_identity=16 \\
      --guidance=2 --output=varied

The output folder holds images/, metadata.jsonl, references.npz, dataset.json and a
README.md, and is what hyperface-train takes; --format writes another format.

Several processes, on one machine or many that share a disk, make one dataset when each
is given the same output and a shard of its own:

    hyperface-generate --references=references.npz --output=dataset --shard=1/4
    torchrun --nproc_per_node=8 --no-python hyperface-generate \\
      --references=references.npz --output=dataset

With --check the command only says whether the files of a generator are there:

    hyperface-generate --generator=arc2face --models=models --base=base --check
"""

import dataclasses

from absl import flags

from bridges import device_flags
from bridges.config_flags import config_from_flags, define_config_flags
from bridges.datasets.formats.writer import FORMATS
from bridges.generation.generation_config import GenerationConfig
from bridges.generators import settings_flags
from bridges.generators.generator import check_files, kind_of
from bridges.photographs.detector import DETECTORS
from hyperface_jax import InputError
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

_HELP = {
    "generator": "what makes the images: embedded, arc2face, or the folder of a "
    "generator of your own",
    "recogniser": "recogniser the references live in, name, file or folder; by default "
    "the one that the generator names",
    "images_per_identity": "images of each reference",
    "beta": "how far each image's embedding is turned away from its reference: "
    "standard deviation of the noise on each entry; 0.01 turns by about 13 degrees",
    "seed": "seed of the dataset",
    "min_cosine": "images with a smaller cosine to their reference are drawn again, "
    "with other noise; -1 takes every face",
    "tries": "how often an image is drawn at most; if none is good enough the best is "
    "kept, and flagged in metadata.jsonl",
    "image_size": "side in pixels of aligned crops, where the generator draws whole "
    "pictures; by default 112",
    "detector": f"what finds the faces in these: {', '.join(DETECTORS)}; by default "
    "mtcnn",
    "collision_recogniser": "recogniser by which all images of different identities "
    "are compared in the end, name, file or folder; by default none are",
    "collision_threshold": "images of two identities with this cosine or more are "
    "drawn again; with --collision_recogniser",
    "collision_rounds": "how often that is done at most; what still collides is "
    "flagged",
    "format": "of the output",
    "num_processes": "worker processes, by default one per core; does not change the "
    "images; a GPU is used by one process",
    "batch_size": "images computed at once, by default what suits generator and "
    "device; images of another batch size may be rounded differently",
}

flags.DEFINE_string(
    "references", None, "embedding file of the identities to show", flag_values=FLAGS
)
flags.DEFINE_string(
    "output", None, "folder, or file, for the dataset", flag_values=FLAGS
)
define_config_flags(
    GenerationConfig(),
    _HELP,
    FLAGS,
    choices={"format": [*FORMATS]},
)
flags.DEFINE_string(
    "shard",
    "",
    "which part of the work this process does: 2/8 is the second of eight; auto asks "
    "torchrun or SLURM; torchrun is asked anyway",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "check",
    False,
    "only say whether the files of the generator are there, and where to get others",
    flag_values=FLAGS,
)
_OPTIONS = settings_flags.define(FLAGS)
device_flags.define(FLAGS)


def main() -> None:
    """Makes the dataset that the flags describe."""
    settings, paths = _OPTIONS.given(FLAGS.generator, FLAGS)
    if FLAGS.check:
        _check(paths)
        return
    require_flags(FLAGS, "references", "output")
    config = dataclasses.replace(
        config_from_flags(GenerationConfig(), FLAGS), settings=settings, paths=paths
    )
    from bridges.generation.image_generation import generate_dataset

    made = generate_dataset(
        FLAGS.references,
        FLAGS.output,
        config,
        shard=FLAGS.shard,
        **device_flags.given(FLAGS),
    )
    if not made.complete and made.images == made.planned:
        print(
            f"{FLAGS.output}: all {made.planned:,} images are there; another worker "
            "finishes the dataset. Should it be stopped, run this again"
        )
        return
    if not made.complete:
        print(
            f"{FLAGS.output}: {made.images:,} of {made.planned:,} images are there; "
            "whoever makes the last one finishes. Give another --shard, or none, to "
            "make what is missing"
        )
        return
    for line in _outcome(made.report or {}):
        print(f"{FLAGS.output}: {line}")
    print(f"{FLAGS.output}: a dataset; train on it with hyperface-train --dataset")


def _outcome(report: dict) -> list[str]:
    """What gate and collision check did, in lines."""
    lines = []
    flagged = report.get("flagged")
    if flagged:
        counts = ", ".join(f"{count:,} {flag}" for flag, count in flagged.items())
        lines.append(f"flagged in the records: {counts}")
    collisions = report.get("collisions")
    if collisions:
        lines.append(
            f"{collisions['images_before']:,} images of "
            f"{collisions['identities_before']:,} identities collided, "
            f"{collisions['images_after']:,} of {collisions['identities_after']:,} "
            f"after {collisions['redrawn']:,} were drawn again in "
            f"{collisions['rounds']} rounds"
        )
    return lines


def _check(paths: object | None) -> None:
    """Says of each file of the generator whether it is there.

    Raises:
      InputError: one is not.
    """
    kind = kind_of(FLAGS.generator)
    faults = 0
    for state in check_files(FLAGS.generator, paths):
        faults += state.fault is not None
        print(f"{'missing' if state.fault else 'ok':8} {state.line}")
    if faults:
        raise InputError(f"generator {kind}: {faults} of its files can't be used")
    print(f"generator {kind}: all its files are there")


def run() -> None:
    """Entry point of ``hyperface-generate``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
