"""Tables and figures of recognisers that hyperface-verify has measured.

The output is a folder: accuracies with their 95 % intervals (table.csv, .md, .html);
accuracy, precision, recall, F1, specificity and sensitivity of each recogniser on each
set (classification.csv, .md); the counts of the four outcomes (confusion.csv, .md) and
their heat maps (heat_maps.png). Example:

    hyperface-tables --metrics=arcface.json,cosface.json --output=tables --plots=curves
"""

from absl import flags

from bridges import folder_flags
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

folder_flags.define_path_list(
    "metrics",
    "files that hyperface-verify wrote, or folders of them, with commas",
    FLAGS,
)
flags.DEFINE_string("output", None, "the folder to write to", flag_values=FLAGS)
flags.DEFINE_string(
    "plots",
    None,
    "a folder for ROC and DET curves of each set and their numbers; by default none",
    flag_values=FLAGS,
)


def main() -> None:
    """Writes the tables of the metrics that the flags name."""
    require_flags(FLAGS, "metrics", "output")
    from bridges.evaluation import classification, figures, tables
    from bridges.evaluation.metrics_files import read_metrics
    from bridges.report.comparison_page import PAGE, write_comparison_page
    from bridges.report.rendering import check_page

    metrics = read_metrics(FLAGS.metrics)
    folder = figures.made_folder(FLAGS.output)
    check_page(folder / PAGE)
    if FLAGS.plots:
        figures.write_curves(metrics, FLAGS.plots)
    tables.write_accuracies(folder, metrics)
    shown = {
        "classification": classification.classification_table(metrics),
        "confusion": classification.confusion_table(metrics),
    }
    for name, rows in shown.items():
        tables.write_csv(folder / f"{name}.csv", rows)
        tables.write_markdown(folder / f"{name}.md", rows)
    figures.write_heat_maps(
        classification.confusions(metrics), folder / "heat_maps.png"
    )
    write_comparison_page(
        folder / PAGE,
        {
            "Accuracy in %, with its 95 % interval": tables.accuracy_cells(metrics),
            "Pairs as a classification": shown["classification"],
            "Counts": shown["confusion"],
        },
    )
    print("\n".join(tables.columns_of_text(tables.accuracy_cells(metrics))))


def run() -> None:
    """Entry point of ``hyperface-tables``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
