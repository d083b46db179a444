"""Writes the report of a run: one HTML page with everything in it.

Reads the outputs of the stages in the folder: gallery/, gallery.npz, references.npz,
dataset/, checkpoint/, metrics.json, run.json, compare/*/metrics.json. The page names
the parts that are missing.

Example:
  hyperface-report --run=runs/demo
"""

from absl import flags

from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "run", None, "the run folder, as hyperface-demo writes it", flag_values=FLAGS
)
flags.DEFINE_string(
    "output",
    None,
    "the page to write; by default report.html in the run folder",
    flag_values=FLAGS,
)


def main() -> None:
    """Writes the report of the run and prints its path."""
    require_flags(FLAGS, "run")
    from bridges.report import write_report

    print(write_report(FLAGS.run, FLAGS.output))


def run() -> None:
    """Entry point of ``hyperface-report``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
