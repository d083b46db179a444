"""Renders faces of people who do not exist, with their attributes, into a folder.

A training or gallery set:

    hyperface-render --output=faces --num_identities=2000 --images_per_identity=8

A verification set (mixed, cross_age, cross_pose, frontal_profile or age_gap_30), whose
people are in no training set:

    hyperface-render --output=verification/mixed --verification_set=mixed
    hyperface-render --output=verification --verification_set=all --full

The output is an image dataset folder: images/, metadata.jsonl, dataset.json; a
verification set also has pairs.csv. Repeat an interrupted command to resume it.
"""

import pathlib
from typing import Any

from absl import flags

from bridges.faces.names import FULL_PAIRS, STREAMS, VERIFICATION_SETS
from hyperface_jax import InputError
from hyperface_jax.commands import require_flags, run_command

_ALL = "all"

FLAGS = flags.FlagValues()
flags.DEFINE_string("output", None, "the folder to write", flag_values=FLAGS)
flags.DEFINE_integer("num_identities", 100, "number of people", flag_values=FLAGS)
flags.DEFINE_integer(
    "images_per_identity", 8, "photographs of each person", flag_values=FLAGS
)
flags.DEFINE_integer(
    "first_identity", 0, "number of the first person", flag_values=FLAGS
)
flags.DEFINE_integer(
    "image_size", 112, "side of the images in pixels", flag_values=FLAGS
)
flags.DEFINE_integer(
    "seed", 0, "seed of the world; other seeds, other people", flag_values=FLAGS
)
flags.DEFINE_enum(
    "stream",
    "train",
    [name for name in STREAMS if name not in VERIFICATION_SETS],
    "group of people; streams share no one, and the shipped models were trained on "
    "train",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "verification_set",
    None,
    [*VERIFICATION_SETS, _ALL],
    "render this verification set instead of a training set; all renders the five, "
    "each into a folder of its name",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "num_pairs",
    600,
    "pairs of the verification set, a multiple of 20",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "full",
    False,
    "as many pairs as the benchmark has that the verification set is modelled on: "
    "6000, of frontal_profile 7000",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "num_processes",
    None,
    "number of rendering processes; by default one per core",
    flag_values=FLAGS,
)


def main() -> None:
    """Renders the set that the flags describe."""
    require_flags(FLAGS, "output")
    _refuse_flags_without_effect()
    if FLAGS.verification_set:
        _render_verification_sets()
        return
    from bridges.faces.world import render_dataset

    folder = render_dataset(
        FLAGS.output,
        num_identities=FLAGS.num_identities,
        images_per_identity=FLAGS.images_per_identity,
        first_identity=FLAGS.first_identity,
        stream=FLAGS.stream,
        **_common(),
    )
    print(f"rendered into {folder}")


def _render_verification_sets() -> None:
    """Renders the set that the flags name, or all."""
    from bridges.faces.verification_sets import render_verification_set

    names = VERIFICATION_SETS if FLAGS.verification_set == _ALL else ()
    output = pathlib.Path(FLAGS.output)
    folders = {name: output / name for name in names}
    for name, place in (folders or {FLAGS.verification_set: output}).items():
        pairs = FULL_PAIRS[name] if FLAGS.full else FLAGS.num_pairs
        folder = render_verification_set(name, place, num_pairs=pairs, **_common())
        print(f"rendered into {folder}")


def _common() -> dict[str, Any]:
    """The flags of training and verification sets."""
    return {
        "image_size": FLAGS.image_size,
        "seed": FLAGS.seed,
        "num_processes": FLAGS.num_processes,
    }


def _refuse_flags_without_effect() -> None:
    people = ("num_identities", "images_per_identity", "first_identity", "stream")
    unused = people if FLAGS.verification_set else ("num_pairs", "full")
    for name in unused:
        if FLAGS[name].present:
            where = "with" if FLAGS.verification_set else "without"
            raise InputError(
                f"--{name} has no effect {where} --verification_set; leave it out"
            )
    if FLAGS.full and FLAGS["num_pairs"].present:
        raise InputError("--num_pairs has no effect with --full; leave one of them out")


def run() -> None:
    """Entry point of ``hyperface-render``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
