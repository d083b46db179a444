"""Packs reference embeddings: as far apart as they will go, near a gallery of faces.

Example:
  hyperface-pack --gallery=gallery.npz --num_identities=10000 --output=references.npz

Reads an embedding file, chooses where the identities start, moves them apart on the
hypersphere and writes a reference file, one row an identity, that hyperface-generate
turns into images. The file keeps the settings, the convergence and the measured
separation beside the theoretical bound.
"""

from absl import flags

from hyperface_jax import checks, files
from hyperface_jax.cli import device_flags, packing_flags
from hyperface_jax.commands import require_flags, run_command
from hyperface_jax.errors import InputError
from hyperface_jax.packing.config import PackingConfig

FLAGS = flags.FlagValues()

flags.DEFINE_string(
    "gallery", None, "Embedding file of the gallery (.npz).", flag_values=FLAGS
)
flags.DEFINE_string(
    "output", None, "Reference file to write (.npz).", flag_values=FLAGS
)
flags.DEFINE_integer(
    "num_identities",
    None,
    "How many new references. By default one for each identity of the gallery. Beyond "
    "that number the others start at mixtures of two identities.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "initial",
    None,
    "Embedding file whose rows the references start at, instead of gallery rows.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "fixed",
    None,
    "Reference file of an earlier set to add to: its references stay as they are, come "
    "first in the output, and the new ones keep away from them.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "enrolled",
    None,
    "Embedding file of real people whom no reference may resemble.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "enrolled_fmr",
    None,
    "With --enrolled, instead of --max_enrolled_cosine: the cosine allowed is the one "
    "that this share of pairs of two different enrolled people exceeds, such as 1e-4.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "balance",
    None,
    "Start references in equal shares for each group of this attribute of the gallery, "
    "such as gender, and report each group. The gallery must say who belongs to which.",
    flag_values=FLAGS,
)
flags.DEFINE_list(
    "shares",
    None,
    "With --balance: the share of each group, such as female:0.5,male:0.5.",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "prove",
    False,
    "Also prove how low the objective could be while references keep their gallery "
    "rows; takes as long as some dozens of iterations, on one device.",
    flag_values=FLAGS,
)
packing_flags.define(FLAGS)
device_flags.define(FLAGS)
flags.DEFINE_float(
    "checkpoint_seconds",
    60.0,
    "Seconds between checkpoints, from which the same command resumes.",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "overwrite", False, "Replace an output of other settings.", flag_values=FLAGS
)


def main() -> None:
    require_flags(FLAGS, "gallery", "output")
    files.check_output(FLAGS.output)
    config = packing_flags.config(FLAGS)
    checks.in_range(FLAGS.checkpoint_seconds, "checkpoint_seconds", 0)
    if FLAGS.num_identities is not None:
        checks.whole_number(FLAGS.num_identities, "num_identities", 1, checks.MOST)
    if FLAGS.enrolled_fmr is not None:
        _check_calibration()
    if FLAGS.shares and not FLAGS.balance:
        raise InputError("--shares says nothing without --balance; give both")
    if FLAGS.initial and FLAGS.balance:
        raise InputError(
            "--initial and --balance both say where references start; leave out one"
        )
    if FLAGS.prove:
        _check_provable(config)
    for name in packing_flags.INPUTS:
        path = FLAGS[name].value
        if path and files.is_same(path, FLAGS.output):
            raise InputError(f"--output is --{name}, which must stay; name another")
    with device_flags.in_use(FLAGS):
        from hyperface_jax.cli.packing_run import run_packing

        run_packing(config, FLAGS)


def _check_calibration() -> None:
    """Refuses --enrolled_fmr beside flags that it makes no sense with."""
    checks.in_range(
        FLAGS.enrolled_fmr, "enrolled_fmr", 0, 1, open_low=True, open_high=True
    )
    if not FLAGS.enrolled:
        raise InputError("--enrolled_fmr says nothing without --enrolled; give both")
    if FLAGS["max_enrolled_cosine"].present:
        raise InputError(
            "--max_enrolled_cosine and --enrolled_fmr both say how near is too near; "
            "leave out one"
        )


def _check_provable(config: PackingConfig) -> None:
    """Refuses --prove beside settings that its bound does not cover."""
    for name, covered in (
        ("reduction", config.reduction == "min"),
        ("regularization_weight", config.regularization_weight > 0),
        ("fixed", not FLAGS.fixed),
        ("num_devices", (FLAGS.num_devices or 1) == 1),
        ("coordinator", not FLAGS.coordinator),
    ):
        if not covered:
            raise InputError(f"--prove has no bound for this --{name}; leave one out")


def run() -> None:
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
