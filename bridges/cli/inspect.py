"""Says what is in a collection of face images, and what is wrong with it.

Counts images, people, images a person, sizes, formats and groups; names what can't be
read, and images that are the same file, those under several people first. Every image
is read and decoded once, on all cores. With --output a folder is written too: the
record inspection.json, a contact sheet, and a page to look at. Example:

    hyperface-inspect --images=UTKFace --identity_from=utkface --output=inspection
"""

from absl import flags

from bridges import folder_flags
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

flags.DEFINE_string("images", None, "folder of face images", flag_values=FLAGS)
flags.DEFINE_string(
    "output",
    None,
    "the folder to write to; by default the summary is printed alone",
    flag_values=FLAGS,
)
folder_flags.define(FLAGS, skip_unreadable=False)


def main() -> None:
    """Inspects the images that the flags name."""
    require_flags(FLAGS, "images")
    from bridges.datasets.image_source import open_images
    from bridges.datasets.inspection import inspect_images
    from bridges.report.inspection_page import (
        check_inspection_output,
        summary,
        write_inspection,
    )

    if FLAGS.output:
        check_inspection_output(FLAGS.output, FLAGS.images)
    images = open_images(FLAGS.images, **folder_flags.given(FLAGS))
    found = inspect_images(images)
    for line in summary(found):
        print(line)
    if FLAGS.output:
        print(write_inspection(found, images, FLAGS.output))


def run() -> None:
    """Entry point of ``hyperface-inspect``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
