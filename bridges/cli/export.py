"""Exports a recogniser as an ONNX file, for use without this project or torch.

Takes the folder of one trained by hyperface-train, recogniser_f, or a file .pth or
.ckpt of insightface, AdaFace or HyperFace. Example:

    hyperface-export --checkpoint=checkpoint --output=recogniser.onnx

The file takes float32 [n, 3, size, size], RGB in [-1, 1], for any n, and gives
embeddings of length 1, of each image together with its mirror image. It is compared
with torch before it is kept. insightface, and hyperface-embed --model, read it.
"""

from absl import flags

from bridges.config_flags import config_from_flags, define_config_flags
from bridges.recognisers.export_config import CHOICES, ExportConfig
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

_DEFAULTS = ExportConfig()
_HELP = {
    "opset": "version of ONNX's operators, 11 to 20",
    "input": "what the file takes: scaled, RGB in [-1, 1], or pixels, RGB from 0 to "
    "255",
    "normalise": "give embeddings of length 1 instead of features of any length",
    "flip": "add the features of the mirror image, which takes twice as long",
    "licence": "a note for whoever is given the file; by default it says whose the "
    "licence is",
}

flags.DEFINE_string(
    "checkpoint",
    None,
    "a recogniser: the folder of one trained by hyperface-train; recogniser_f, which "
    "ships and knows rendered faces; or a file .pth or .ckpt of ArcFace, AdaFace or "
    "HyperFace",
    flag_values=FLAGS,
)
flags.DEFINE_string("output", None, "the .onnx file to write", flag_values=FLAGS)
define_config_flags(_DEFAULTS, _HELP, FLAGS, choices=CHOICES)


def main() -> None:
    """Exports the recogniser that the flags name."""
    require_flags(FLAGS, "checkpoint", "output")
    config = config_from_flags(_DEFAULTS, FLAGS)
    from bridges.recognisers.onnx_export import export_recogniser, summary

    _, record = export_recogniser(FLAGS.checkpoint, FLAGS.output, config)
    print(
        f"{FLAGS.output}: {summary(record)}; onnxruntime differs from torch by at most "
        f"{record['largest_difference']:.1e}"
    )


def run() -> None:
    """Entry point of ``hyperface-export``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
