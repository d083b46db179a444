"""Measures a recogniser on verification sets: are two images of one person?

Reports, for each set, the 10-fold accuracy with its standard deviation, the rate of
true accepts at false-accept rates of 1e-2, 1e-3 and 1e-4, the equal error rate and the
area under the ROC curve, with 95 % intervals over people. Where pairs.csv says which
demographic group a pair is of, accuracy, false match rate and false non-match rate of
each group too, and how fair one threshold is to them. Example:

    hyperface-verify --checkpoint=checkpoint --benchmarks=verification --output=m.json

A set is a folder with images and pairs.csv, as hyperface-render makes them, or a file
of insightface: lfw.bin, cfp_fp.bin, agedb_30.bin; a folder of sets stands for all of
them. Of several checkpoints, with commas, a table is printed, and --output is a folder:

    hyperface-verify --checkpoint=a,b.onnx --benchmarks=lfw.bin,verification --output=m
"""

import pathlib
from typing import Any

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
flags.DEFINE_string(
    "plots",
    None,
    "a folder for ROC and DET curves of each set and their numbers; by default none",
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
    if FLAGS.plots:
        from bridges.evaluation import figures

        figures.made_folder(FLAGS.plots)
    if len(FLAGS.checkpoint) > 1:
        metrics = _compare(options)
    else:
        metrics = _measure(options)
    if FLAGS.plots:
        figures.write_curves(metrics, FLAGS.plots)


def _measure(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Measures one recogniser and prints a line a set and a group."""
    from bridges.evaluation.verification import verify_checkpoint
    from bridges.evaluation.wording import lines_of

    metrics = verify_checkpoint(
        FLAGS.checkpoint[0], FLAGS.benchmarks, FLAGS.output, **options
    )
    print("\n".join(lines_of(metrics)))
    return {(metrics.get("model") or {}).get("name", "recogniser"): metrics}


def _compare(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Measures several recognisers, prints a table and writes it in other forms."""
    from bridges.evaluation import tables
    from bridges.evaluation.comparison import verify_checkpoints
    from bridges.report.comparison_page import PAGE, write_comparison_page
    from bridges.report.rendering import check_page

    page = pathlib.Path(FLAGS.output) / PAGE
    if page.exists():
        check_page(page)
    metrics = verify_checkpoints(
        FLAGS.checkpoint, FLAGS.benchmarks, FLAGS.output, **options
    )
    title = "Accuracy in %, with its 95 % interval"
    write_comparison_page(page, {title: tables.accuracy_cells(metrics)})
    for rows in (tables.accuracy_table(metrics), tables.interval_table(metrics)):
        print("\n".join(tables.columns_of_text(rows)))
    return metrics


def run() -> None:
    """Entry point of ``hyperface-verify``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
