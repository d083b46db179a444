"""Finds the faces in a folder of photographs and writes them as aligned crops.

Every recogniser expects faces so: square, the eyes, the nose and the corners of the
mouth on ArcFace's template. Sub-folders are kept, so that a folder a person stays one.
Example:

    hyperface-align --images=photographs --output=faces

Beside the crops lie alignment.csv, what became of every picture, and alignment.html, a
page with the pictures in which no face was found and the crops that are doubtful. The
same command goes on where it was interrupted.
"""

from absl import flags

from bridges import device_flags, folder_flags
from bridges.photographs.detector import DETECTORS
from bridges.photographs.face_choice import FACES, LARGEST
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

flags.DEFINE_string("images", None, "folder of photographs", flag_values=FLAGS)
flags.DEFINE_string("output", None, "folder to write the crops to", flag_values=FLAGS)
flags.DEFINE_enum(
    "detector",
    "mtcnn",
    list(DETECTORS),
    "what finds faces: mtcnn, the more precise (make photos brings its weights), or "
    "yunet, twice as fast",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "image_size", 112, "side of the crops in pixels", 16, flag_values=FLAGS
)
flags.DEFINE_enum(
    "faces",
    LARGEST,
    list(FACES),
    "which faces of a picture. "
    + "; ".join(f"{name}: {what}" for name, what in FACES.items()),
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "realign",
    False,
    "look for faces even if most pictures are aligned crops already, which are else "
    "copied as they are",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "num_processes",
    None,
    "worker processes on a CPU; by default one a core",
    1,
    flag_values=FLAGS,
)
folder_flags.define(FLAGS, identities=False)
device_flags.define(FLAGS, precision=False)


def main() -> None:
    """Aligns the folder that the flags name, and writes the page."""
    require_flags(FLAGS, "images", "output")
    from bridges.photographs.align_faces import align_faces
    from bridges.report.alignment_page import write_alignment_page

    result = align_faces(
        FLAGS.images,
        FLAGS.output,
        detector=FLAGS.detector,
        image_size=FLAGS.image_size,
        faces=FLAGS.faces,
        realign=FLAGS.realign,
        num_processes=FLAGS.num_processes,
        **folder_flags.given(FLAGS),
        **device_flags.given(FLAGS),
    )
    page = write_alignment_page(result.folder, FLAGS.images)
    counts = result.counts
    told = ", ".join(
        f"{number:,} {status}"
        for status, number in counts.items()
        if number and status not in ("pictures", "crops")
    )
    print(
        f"{FLAGS.output}: {counts['crops']:,} crops of {counts['pictures']:,} "
        f"pictures ({told}); {page}"
    )


def run() -> None:
    """Entry point of ``hyperface-align``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
