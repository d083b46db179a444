"""Measures identification on embedding files: who of those enrolled is it?

Searches the gallery for every probe and reports rank-1, 5, 10 and 20 (closed set), and
FNIR at FPIR 1e-1, 1e-2 and 1e-3 (open set, of probes whose person is not enrolled),
with 95 % intervals over people. Examples:

    hyperface-identify --gallery=gallery.npz --probes=probes.npz --output=found.json
    hyperface-identify --gallery=faces.npz --split=random --output=found.json

Without --probes each image of the gallery is searched for among all others, or the
gallery is split at random. --templates takes IJB's lists of templates and media.
"""

from absl import flags

from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

flags.DEFINE_string(
    "gallery", None, "embedding file of the people enrolled", flag_values=FLAGS
)
flags.DEFINE_string(
    "probes",
    None,
    "embedding file of the images to search for; by default those of --gallery",
    flag_values=FLAGS,
)
flags.DEFINE_string("output", None, "the JSON file to write", flag_values=FLAGS)
flags.DEFINE_enum(
    "split",
    "leave_one_out",
    ["leave_one_out", "random"],
    "without --probes: search for each image among all others, once with and once "
    "without its own person; or enrol one image a person and search for the rest",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "unknown_share",
    0.2,
    "of a random split: the share of people who are not enrolled",
    flag_values=FLAGS,
)
flags.DEFINE_integer("seed", 0, "of a random split", flag_values=FLAGS)
flags.DEFINE_string(
    "templates",
    None,
    "a list of the images that make up templates: a CSV file name,template,medium and, "
    "optionally, score; or IJB's …_face_tid_mid.txt; by default each image is one",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "weigh_by_score",
    True,
    "weigh the images of a template by the scores of the list, where it has some",
    flag_values=FLAGS,
)


def main() -> None:
    """Measures identification on the files that the flags name."""
    require_flags(FLAGS, "gallery", "output")
    from bridges.evaluation.identify import identify

    found = identify(
        FLAGS.gallery,
        FLAGS.output,
        probes=FLAGS.probes,
        split=FLAGS.split,
        unknown_share=FLAGS.unknown_share,
        seed=FLAGS.seed,
        templates=FLAGS.templates,
        weigh_by_score=FLAGS.weigh_by_score,
    )
    closed, open_set = found["closed_set"], found["open_set"]
    told = [
        f"rank-{k} {100 * rate:.2f} %{_span(closed['intervals'][k])}"
        for k, rate in closed["rank"].items()
    ]
    print(
        f"{found['num_enrolled']:,} people enrolled, {closed['num_probes']:,} probes "
        f"of them: {', '.join(told)}"
    )
    for rate, one in open_set["fnir_at_fpir"].items():
        if one is not None:
            print(
                f"FNIR {100 * one['fnir']:.2f} %{_span(one['interval'])} at FPIR {rate}"
                f", {open_set['num_unmated']:,} searches for people not enrolled"
            )


def _span(bounds: list[float]) -> str:
    return f" [{100 * bounds[0]:.1f}-{100 * bounds[1]:.1f}]"


def run() -> None:
    """Entry point of ``hyperface-identify``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
