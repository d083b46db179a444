"""Writes images in another format: training sets and verification sets.

Formats are read by what they are: folders of images, zips, insightface's .rec and .bin,
tar shards of WebDataset, LMDB, data sets of Hugging Face on disk, StyleGAN2-ADA's
folders. Encoded images pass through untouched unless --image_size or --encode is given.
Example:

    hyperface-convert --input=dataset --output=records --format=recordio

labels.csv, beside the images, says who each number is. The same command goes on where
it was interrupted.
"""

from absl import flags

from bridges import folder_flags
from bridges.datasets.formats.writer import FORMATS
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

flags.DEFINE_string("input", None, "images in any format", flag_values=FLAGS)
flags.DEFINE_string(
    "output",
    None,
    "the folder to write, or for zip and bin the file",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "format",
    None,
    [*FORMATS, "bin"],
    "what to write. "
    + "; ".join(f"{name}: {FORMATS[name].what}" for name in FORMATS)
    + "; bin: the pairs of a verification set in one file, as insightface evaluates on",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "image_size",
    None,
    "side in pixels to resample to; by default none, and 112 for bin",
    1,
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "encode",
    "keep",
    ["keep", "jpeg", "png"],
    "keep the bytes of images that are not resampled, or encode them anew",
    flag_values=FLAGS,
)
folder_flags.define(FLAGS)


def main() -> None:
    """Converts the images that the flags name."""
    require_flags(FLAGS, "input", "output", "format")
    from bridges.datasets.conversion import convert_images

    count = convert_images(
        FLAGS.input,
        FLAGS.output,
        format=FLAGS.format,
        image_size=FLAGS.image_size,
        encode=FLAGS.encode,
        **folder_flags.given(FLAGS),
    )
    print(f"{FLAGS.output}: {count:,} images as {FLAGS.format}")


def run() -> None:
    """Entry point of ``hyperface-convert``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
