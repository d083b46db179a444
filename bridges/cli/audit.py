"""Audits a data set, ours or another's: leaks, duplicates, swapped labels, balance.

Against real sets, every image is compared with every image of theirs and with the
centres of their people; a leak is as near as a real person's own images usually are,
and nearer than any two people are. Inside the set: duplicates, people who are one,
images that are another person's, how well people can be told apart, balance by group.
Examples:

    hyperface-audit --set=dataset --against=gallery --model=sface --output=audit
    hyperface-audit --set=queries.npz --against=train.npz,enrolled.npz --output=audit \\
        --max_leaks=0

The output is a folder with index.html, audit.json and flagged.csv. The exit code is 3
where more was found than --max_leaks, --max_duplicates, --max_same_people or
--max_mislabelled allow. One recogniser judges; another may not agree.
"""

import sys

from absl import flags

from bridges import device_flags, folder_flags
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

flags.DEFINE_string(
    "set",
    None,
    "what to audit: an embedding file, or images in any format",
    flag_values=FLAGS,
)
folder_flags.define_path_list(
    "against", "real sets to compare with, likewise, with commas", FLAGS
)
flags.DEFINE_string(
    "model",
    None,
    "the recogniser that judges images: what hyperface-embed --model takes",
    flag_values=FLAGS,
)
flags.DEFINE_string("output", None, "the folder to write", flag_values=FLAGS)
flags.DEFINE_float(
    "threshold",
    None,
    "cosine above which an image is a leak; by default what a real person's own images "
    "usually reach, and more than any two people do",
    -1,
    1,
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "duplicate_cosine",
    0.999,
    "images of the set at least so alike are duplicates",
    -1,
    1,
    flag_values=FLAGS,
)
for _name in ("leaks", "duplicates", "same_people", "mislabelled"):
    flags.DEFINE_integer(
        f"max_{_name}",
        None,
        f"more {_name.replace('_', ' ')} than this end the command with exit code 3",
        0,
        flag_values=FLAGS,
    )
folder_flags.define(FLAGS)
device_flags.define(FLAGS, precision=False)

# What a pipeline can gate on; 0, 1, 2, 130 and 141 are every command's.
_EXCEEDED = 3


def main() -> None:
    """Audits the set that the flags name."""
    require_flags(FLAGS, "set", "output")
    from bridges.audit.audit import LIMITS, audit_set, exceeded

    found = audit_set(
        FLAGS["set"].value,
        FLAGS.output,
        against=FLAGS.against or (),
        model=FLAGS.model,
        threshold=FLAGS.threshold,
        duplicate_cosine=FLAGS.duplicate_cosine,
        **folder_flags.given(FLAGS),
        **device_flags.given(FLAGS),
    )
    judge = found.judge.get("name", "a recogniser that is not known")
    told = ", ".join(
        f"{n:,} {name.replace('_', ' ')}" for name, n in found.counts.items()
    )
    print(f"{FLAGS.output}: {told}; judged by {judge}, another may not agree")
    for each in found.leaks:
        print(
            f"{each.name}: {len(each.rows):,} leaks above {each.threshold:.4f}, "
            f"{each.origin}"
        )
    if found.separability is not None:
        apart = found.separability
        print(f"people apart: EER {100 * apart.eer:.2f} %, d' {apart.d_prime:.2f}")
    allowed = (
        FLAGS.max_leaks,
        FLAGS.max_duplicates,
        FLAGS.max_same_people,
        FLAGS.max_mislabelled,
    )
    over = exceeded(found, dict(zip(LIMITS, allowed, strict=True)))
    if over:
        print(f"more than allowed: {'; '.join(over)}", file=sys.stderr)
        sys.exit(_EXCEEDED)


def run() -> None:
    """Entry point of ``hyperface-audit``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
