"""Writes the report of a run: one HTML page with everything in it.

Reads what the stages left in the folder: gallery/, gallery.npz, references.npz,
dataset/, checkpoint/, metrics.json, run.json, compare/*/metrics.json. Parts that are
missing are named on the page.

Example:
  hyperface-report --run=runs/demo
"""

from absl import flags

from bridges.report import write_report
from hyperface_jax import InputError
from hyperface_jax.commands import run_command

FLAGS = flags.FlagValues()
flags.DEFINE_string("run", None, "The run folder.", flag_values=FLAGS)
flags.DEFINE_string(
    "output",
    None,
    "The page to write; by default report.html in the run folder.",
    flag_values=FLAGS,
)


def main() -> None:
    if FLAGS.run is None:
        raise InputError("--run is missing: name the folder of the run, runs/demo say")
    print(write_report(FLAGS.run, FLAGS.output))


def run() -> None:
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
