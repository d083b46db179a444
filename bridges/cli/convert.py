"""Converts images of faces from one format of datasets to another.

Reads folders, zip and tar archives, RecordIO (.rec), WebDataset shards, LMDB, datasets
of Hugging Face saved on disk and StyleGAN's folders; writes any of them. The encoded
images pass through untouched, unless a size or an encoding is asked for. Of the pairs
of a verification set it makes insightface's .bin. Examples:

    hyperface-convert --input=train.rec --output=faces --format=imagefolder
    hyperface-convert --input=pairs --output=mine.bin --format=bin

labels.csv in the output says which label is which identity and how many images it has.
The same command goes on where it was stopped.
"""

from absl import flags

from bridges import folder_flags
from hyperface_jax import InputError, checks
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

flags.DEFINE_string(
    "input",
    None,
    "what holds the images: a folder, or a file .rec, .tar, .zip or .mdb",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "output", None, "the folder to write, or the .zip or .bin file", flag_values=FLAGS
)
flags.DEFINE_string(
    "format",
    None,
    "what to write: folder (as hyperface-generate), imagefolder (a folder an "
    "identity, metadata.jsonl), recordio (train.rec, .idx, .lst, property), webdataset "
    "(.tar shards), lmdb (Vec2Face's), hugging_face (a dataset saved on disk), "
    "stylegan (dataset.json), zip, or of a verification set bin (insightface's)",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "image_size",
    None,
    "side in pixels of the central square; default: images stay as they are, and bin "
    "has 112",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "encode",
    None,
    ["jpeg", "png"],
    "encode images that are of another format; default: they stay as they are, and "
    "resampled ones become png",
    flag_values=FLAGS,
)
folder_flags.define(FLAGS)


def main() -> None:
    """Converts what the flags name."""
    require_flags(FLAGS, "input", "output", "format")
    if FLAGS.format == "bin":
        _convert_pairs()
        return
    from bridges.datasets.conversion import convert_images
    from bridges.datasets.formats.writer import FORMATS

    checks.one_of(FLAGS.format, "format", (*FORMATS, "bin"))
    made = convert_images(
        FLAGS.input,
        FLAGS.output,
        format=FLAGS.format,
        image_size=FLAGS.image_size,
        encode=FLAGS.encode,
        **folder_flags.given(FLAGS),
    )
    people = "" if made.identities is None else f" of {made.identities:,} people"
    print(f"{FLAGS.output}: {made.images:,} images{people}, format {FLAGS.format}")


def _convert_pairs() -> None:
    """Makes a .bin."""
    if FLAGS.encode or FLAGS["identity_from"].present:
        raise InputError("--format=bin takes pairs: no --encode and no --identity_from")
    from bridges.datasets.make_bin import IMAGE_SIZE, convert_to_bin

    pairs = convert_to_bin(
        FLAGS.input,
        FLAGS.output,
        image_size=FLAGS.image_size or IMAGE_SIZE,
        skip_unreadable=FLAGS.skip_unreadable,
    )
    print(f"{FLAGS.output}: {pairs:,} pairs")


def run() -> None:
    """Entry point of ``hyperface-convert``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
