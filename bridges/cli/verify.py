"""Measures a recogniser on verification sets: are two images of one person?

Reports, for each set, the 10-fold accuracy with its standard deviation, the rate of
true accepts at false-accept rates of 1e-2, 1e-3 and 1e-4, the equal error rate and the
area under the ROC curve. Where pairs.csv says which demographic group a pair is of,
accuracy, false match rate and false non-match rate of each group too. Example:

    hyperface-verify --checkpoint=checkpoint --benchmarks=verification --output=m.json

A set is a folder with images and pairs.csv, as hyperface-render makes them, or a file
of insightface: lfw.bin, cfp_fp.bin, agedb_30.bin; a folder of sets stands for all of
them. Of several checkpoints, with commas, a table is printed, and --output is a folder:

    hyperface-verify --checkpoint=a,b.onnx --benchmarks=lfw.bin,verification --output=m
"""

from absl import flags

from bridges import device_flags, folder_flags
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

folder_flags.define_path_list(
    "checkpoint",
    "a recogniser: recogniser_f, which ships and knows rendered faces; sface, which "
    "knows photographs (make photos); a file .onnx, .pth or .ckpt of ArcFace, AdaFace "
    "or HyperFace; the folder of one trained by hyperface-train; or dlib; or several, "
    "with commas",
    FLAGS,
)
folder_flags.define_path_list(
    "benchmarks",
    "verification sets, folders or .bin files, or folders of them, with commas",
    FLAGS,
)
flags.DEFINE_string(
    "output",
    None,
    "the JSON file to write; of several checkpoints, a folder",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "flip", True, "embed images together with their mirror image", flag_values=FLAGS
)
folder_flags.define(FLAGS, identities=False)
device_flags.define(FLAGS)


def main() -> None:
    """Measures the recognisers that the flags name, and prints what they score."""
    require_flags(FLAGS, "checkpoint", "benchmarks", "output")
    options = {
        "flip": FLAGS.flip,
        **folder_flags.given(FLAGS),
        **device_flags.given(FLAGS),
    }
    if len(FLAGS.checkpoint) > 1:
        from bridges.evaluation.comparison import accuracy_table, verify_checkpoints

        found = verify_checkpoints(
            FLAGS.checkpoint, FLAGS.benchmarks, FLAGS.output, **options
        )
        rows = accuracy_table(found)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for first, *rest in rows:
            figures = zip(rest, widths[1:], strict=True)
            cells = "  ".join(f"{cell:>{width}}" for cell, width in figures)
            print(f"{first:{widths[0]}}  {cells}")
        return
    from bridges.evaluation.verification import verify_checkpoint

    metrics = verify_checkpoint(
        FLAGS.checkpoint[0], FLAGS.benchmarks, FLAGS.output, **options
    )
    for name, result in metrics["benchmarks"].items():
        val = result["val_at_far"]["1e-3"]
        print(
            f"{name:16s} accuracy {100 * result['accuracy']:.2f} ± "
            f"{100 * result['accuracy_std']:.2f} %, EER {100 * result['eer']:.2f} %, "
            f"AUC {result['auc']:.4f}, VAL {100 * val['val']:.2f} % at FAR 0.1 %, "
            f"{result['num_pairs']} pairs"
        )
    print(f"{'mean':16s} accuracy {100 * metrics['mean_accuracy']:.2f} %")
    for name, result in metrics.get("groups", {}).items():
        print(
            f"{name:16s} accuracy {100 * result['accuracy']:.2f} %, "
            f"FMR {_percent(result['false_match_rate'])}, "
            f"FNMR {_percent(result['false_non_match_rate'])}, "
            f"{result['num_pairs']} pairs"
        )


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.2f} %"


def run() -> None:
    """Entry point of ``hyperface-verify``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
