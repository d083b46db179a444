"""Embeds a folder of face images: a unit vector for each, in one file.

The folder is a dataset made by hyperface-render or hyperface-generate, has one folder
of images per identity, or is just a folder of images, in any format that Pillow reads.
Archives, RecordIO, LMDB and .bin files are read, too; whole photographs are to go
through hyperface-align first. What was found, and what was left out, is reported.
Example:

    hyperface-embed --images=gallery --output=gallery.npz

The result holds embeddings, labels and file names, and is what hyperface-pack and
hyperface-search take.
"""

from absl import flags

from bridges import device_flags, folder_flags
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

flags.DEFINE_string(
    "images", None, "face images: a folder, or another format", flag_values=FLAGS
)
flags.DEFINE_string("output", None, "the .npz file to write", flag_values=FLAGS)
flags.DEFINE_string(
    "model",
    "recogniser_f",
    "a recogniser: recogniser_f, which ships and knows rendered faces; sface, which "
    "knows photographs (make photos); a file .onnx, .pth or .ckpt of ArcFace, AdaFace "
    "or HyperFace; the folder of one trained by hyperface-train; or dlib",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "flip", True, "embed each image together with its mirror image", flag_values=FLAGS
)
flags.DEFINE_enum(
    "kind",
    "gallery",
    ["gallery", "queries"],
    "what the embeddings are for",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "attributes",
    False,
    "also write what the recogniser reads from each image: pose, age, expression, "
    "gender, whichever it was trained for by hyperface-train --tasks",
    flag_values=FLAGS,
)
folder_flags.define(FLAGS)
device_flags.define(FLAGS)


def main() -> None:
    """Embeds the folder that the flags name."""
    require_flags(FLAGS, "images", "output")
    from bridges.recognisers.gallery import embed_folder

    result = embed_folder(
        FLAGS.images,
        FLAGS.output,
        model=FLAGS.model,
        flip=FLAGS.flip,
        kind=FLAGS.kind,
        attributes=FLAGS.attributes,
        **folder_flags.given(FLAGS),
        **device_flags.given(FLAGS),
    )
    rows, columns = result.embeddings.shape
    read = [name for name in result.predicted or {} if "_probability" not in name]
    print(
        f"{FLAGS.output}: {rows} embeddings of {columns} numbers "
        f"by {result.metadata['model']['name']}"
        + (f", with {', '.join(read)}" if read else "")
    )


def run() -> None:
    """Entry point of ``hyperface-embed``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
