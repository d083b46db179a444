"""Measures how many identities a gallery region holds that a verifier can tell apart.

Example:
  hyperface-capacity --gallery=gallery.npz --threshold=0.3,0.4 --spread=30 \\
      --output=capacity.json

Identities are packed near the gallery, more and more of them, until images of two
would be confused at the threshold. Images stray from their identity by the spread,
given as an angle or measured from embeddings of several images of each identity. Prints
for each threshold how many people of the gallery keep the limit as they are, how many
identities were found by packing, and how many no packing can pass; a cosine up to 1e-4
beyond the limit passes in all three. An interrupted command keeps the rows it finished.
"""

from absl import flags

from hyperface_jax import checks, files
from hyperface_jax.commands import require_flags, run_command
from hyperface_jax.devices import startup
from hyperface_jax.errors import InputError
from hyperface_jax.packing.config import PackingConfig

FLAGS = flags.FlagValues()
_CASES = ("worst", "typical")
_DEFAULTS = PackingConfig()

flags.DEFINE_string(
    "gallery", None, "Embedding file of the gallery (.npz).", flag_values=FLAGS
)
flags.DEFINE_list(
    "threshold",
    None,
    "Cosine above which the verifier accepts a pair as one person, in (-1, 1); several "
    "with commas between.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "spread",
    None,
    "How far images stray from their identity: an angle in degrees.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "spread_from",
    None,
    "Instead of --spread: an embedding file (.npz) with labels, several images of each "
    "identity, to measure the spread of.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "case",
    "both",
    ["both", *_CASES],
    "worst: no images within the spread are confused, whatever their direction. "
    "typical: images off in random directions are, at most at the false match rate.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "false_match_rate",
    1e-3,
    "The typical case: share of image pairs of two identities that may be accepted.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "min_gallery_cosine",
    None,
    "Where the region ends: identities less near than this to every gallery row don't "
    "count. By default all count, and the bound is that of the whole sphere.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "max_identities", 10_000, "The largest number to try.", flag_values=FLAGS
)
flags.DEFINE_float(
    "regularization_weight",
    _DEFAULTS.regularization_weight,
    "How strongly identities are held near the gallery; 0 lets them go anywhere.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "num_iterations",
    None,
    "Of each packing, at most; annealed 150 to 5000 by default.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "time_limit", None, "Seconds after which a packing stops.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "block_size", None, "Side of the tiles of cosines in memory.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "seed", _DEFAULTS.seed, "Of the choice of starting rows.", flag_values=FLAGS
)
flags.DEFINE_string("output", None, "JSON file to write.", flag_values=FLAGS)


def main() -> None:
    require_flags(FLAGS, "gallery", "threshold", "output")
    files.check_output(FLAGS.output)
    config = PackingConfig(
        num_iterations=FLAGS.num_iterations,
        time_limit=FLAGS.time_limit,
        regularization_weight=FLAGS.regularization_weight,
        block_size=FLAGS.block_size,
        seed=FLAGS.seed,
    )
    thresholds = _thresholds()
    _check_ranges(thresholds)
    if (FLAGS.spread is None) == (not FLAGS.spread_from):
        raise InputError(
            "give one of --spread (an angle in degrees) and --spread_from (an "
            "embedding file to measure it on)"
        )
    startup.load_jax()
    startup.check_platform()
    from hyperface_jax.cli.capacity_run import run_capacity

    cases = _CASES if FLAGS.case == "both" else (FLAGS.case,)
    run_capacity(config, thresholds, cases, FLAGS)


def _thresholds() -> list[float]:
    try:
        return [float(text) for text in FLAGS.threshold]
    except ValueError as error:
        raise InputError(f"--threshold: {error}; give cosines such as 0.3") from None


def _check_ranges(thresholds: list[float]) -> None:
    """Refuses flags out of range before any file is read."""
    for threshold in thresholds:
        checks.in_range(threshold, "threshold", -1, 1, open_low=True, open_high=True)
    if FLAGS.spread is not None:
        checks.in_range(FLAGS.spread, "spread", 0, 90)
    checks.in_range(FLAGS.false_match_rate, "false_match_rate", 0, 0.5, open_low=True)
    if FLAGS.min_gallery_cosine is not None:
        checks.in_range(FLAGS.min_gallery_cosine, "min_gallery_cosine", -1, 1)
    checks.whole_number(FLAGS.max_identities, "max_identities", 2, checks.MOST)


def run() -> None:
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
