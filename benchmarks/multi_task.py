"""Several tasks on one backbone, and attention by group, on rendered people.

    python -m benchmarks.multi_task --output=benchmarks/results/multi_task.json

Trains the small backbone for identity, pose, age, expression and gender together, with
fixed weights and with learned ones, and for each of them alone: the same network, as
many steps. Then for identity alone with and without gates by demographic group, from
several seeds. All are measured on held-out people, whom no training has seen. Images
and checkpoints are kept under ``--work``, and resumed if incomplete.
"""

import itertools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from absl import flags

from bridges.datasets.image_dataset import ImageDataset
from bridges.evaluation.error_rates import equal_error_rate
from bridges.faces.world import render_dataset
from bridges.recognisers.attributes import read_source
from bridges.recognisers.embedding import embed_source
from bridges.recognisers.recogniser import load_recogniser
from bridges.recognition.config import TrainingConfig
from bridges.recognition.training import train_recogniser
from hyperface_jax import files
from hyperface_jax.commands import provenance, run_command

FLAGS = flags.FlagValues()

flags.DEFINE_string(
    "work", "runs/multi_task", "for images and checkpoints", flag_values=FLAGS
)
flags.DEFINE_integer("identities", 128, "people to train on", flag_values=FLAGS)
flags.DEFINE_integer("held_out", 120, "people to measure on", flag_values=FLAGS)
flags.DEFINE_integer("images", 8, "images of each", flag_values=FLAGS)
flags.DEFINE_integer("image_size", 64, "side in pixels", flag_values=FLAGS)
flags.DEFINE_float("epochs", 8.0, "passes over the images", flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 64, "images a step", flag_values=FLAGS)
flags.DEFINE_integer("seeds", 4, "trainings with and without gates", flag_values=FLAGS)
flags.DEFINE_integer("num_threads", 1, "threads to compute with", flag_values=FLAGS)
flags.DEFINE_string(
    "output", None, "where the JSON record goes, if anywhere", flag_values=FLAGS
)

TASKS = ("identity", "pose", "age", "expression", "gender")
# Of false matches, at the one threshold that all groups share.
FALSE_MATCH_RATE = 0.01
_RESAMPLES = 1000


class Error(NamedTuple):
    """An error on held-out people.

    Attributes:
      name: what it is, with its unit.
      value: of all images.
      low, high: 95 % interval over people, by bootstrap.
    """

    name: str
    value: float
    low: float
    high: float


def configuration(tasks: tuple[str, ...], **settings: Any) -> TrainingConfig:
    """The settings of one training."""
    return TrainingConfig(
        tasks=tasks,
        image_size=FLAGS.image_size,
        epochs=FLAGS.epochs,
        batch_size=FLAGS.batch_size,
        **settings,
    )


def trained(name: str, people: ImageDataset, config: TrainingConfig) -> Any:
    """The recogniser of one training."""
    folder = pathlib.Path(FLAGS.work) / name
    train_recogniser(people, folder, config, num_threads=FLAGS.num_threads)
    return load_recogniser(folder, device="cpu")


def task_errors(recogniser: Any, people: ImageDataset) -> list[Error]:
    """The errors of what a recogniser was trained for, but for identity."""
    read = read_source(recogniser, people).predicted
    records = people.records
    genders = ["male" if record["gender"] > 0.5 else "female" for record in records]
    found = []
    for field, unit in (
        ("yaw", "degrees"),
        ("pitch", "degrees"),
        ("roll", "degrees"),
        ("age", "years"),
    ):
        if field in read:
            truth = np.array([record[field] for record in records])
            found.append((f"{field}, {unit}", np.abs(read[field] - truth)))
    for field, truth in (
        ("expression", [record["expression"] for record in records]),
        ("gender", genders),
    ):
        if field in read:
            found.append((f"{field}, share wrong", read[field] != np.array(truth)))
    return [over_people(name, each, people.labels) for name, each in found]


def guesses(people: ImageDataset) -> dict[str, float]:
    """What always guessing the median, or the most frequent class, errs by."""
    records, found = people.records, {}
    for field, unit in (("yaw", "degrees"), ("pitch", "degrees"), ("roll", "degrees")):
        found[f"{field}, {unit}"] = [record[field] for record in records]
    found["age, years"] = [record["age"] for record in records]
    errors = {k: float(np.abs(v - np.median(v)).mean()) for k, v in found.items()}
    for field, words in (
        ("expression", [record["expression"] for record in records]),
        ("gender", [record["gender"] > 0.5 for record in records]),
    ):
        _, counts = np.unique(words, return_counts=True)
        errors[f"{field}, share wrong"] = float(1 - counts.max() / counts.sum())
    return errors


def over_people(name: str, errors: np.ndarray, person: np.ndarray) -> Error:
    """The mean error and its interval: people are drawn, with all of their images."""
    sums = np.bincount(person, errors.astype(float))
    counts = np.bincount(person)
    drawn = np.random.default_rng(0).integers(0, len(sums), (_RESAMPLES, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Error(name, float(errors.mean()), float(low), float(high))


def group_gaps(recogniser: Any, people: ImageDataset) -> dict[str, float]:
    """How far groups are apart, at one threshold for all.

    Returns:
      ``eer`` of all pairs; ``fnmr`` and ``fmr``: means over the groups, of pairs within
      a group; ``fnmr_gap`` and ``fmr_gap``: the largest less the smallest. Groups of
      one person do not count.
    """
    rows = embed_source(recogniser, people)
    first, second = np.triu_indices(len(rows), 1)
    cosines = np.einsum("pd,pd->p", rows[first], rows[second])
    same = people.labels[first] == people.labels[second]
    groups = np.array([record["group"] for record in people.records])
    threshold = np.quantile(cosines[~same], 1 - FALSE_MATCH_RATE)
    within = groups[first] == groups[second]
    misses, matches = [], []
    for group in np.unique(groups):
        here = within & (groups[first] == group)
        if same[here].all():
            continue
        misses.append(float(np.mean(cosines[here & same] < threshold)))
        matches.append(float(np.mean(cosines[here & ~same] >= threshold)))
    return {
        "eer": float(equal_error_rate(cosines, same)),
        "fnmr": float(np.mean(misses)),
        "fmr": float(np.mean(matches)),
        "fnmr_gap": max(misses) - min(misses),
        "fmr_gap": max(matches) - min(matches),
    }


def over_seeds(values: list[float]) -> tuple[float, float | None, float | None]:
    """Mean and 95 % interval by Student's t, which one seed alone does not give."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return mean, None, None
    half = scipy.stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / count**0.5
    return mean, mean - float(half), mean + float(half)


def compare_tasks(people: ImageDataset, others: ImageDataset) -> list[dict[str, Any]]:
    """A row for each training and error."""
    runs = {"together": configuration(TASKS)}
    runs["together, learned weights"] = configuration(
        TASKS, task_weighting="uncertainty"
    )
    runs |= {f"{task} alone": configuration((task,)) for task in TASKS}
    rows = []
    for name, config in runs.items():
        recogniser = trained(name.replace(",", "").replace(" ", "_"), people, config)
        if "identity" in config.tasks:
            measured = group_gaps(recogniser, others)
            rows.append({"training": name, "error": "EER", "value": measured["eer"]})
        if config.tasks != ("identity",):
            for each in task_errors(recogniser, others):
                row = each._asdict()
                rows.append({"training": name, "error": row.pop("name"), **row})
    return rows


def compare_attention(
    people: ImageDataset, others: ImageDataset
) -> list[dict[str, Any]]:
    """A row for each seed, with and without gates."""
    rows = []
    for seed, attention in itertools.product(
        range(FLAGS.seeds), ("none", "demographic")
    ):
        config = configuration(("identity",), seed=seed, attention=attention)
        name = f"attention_{attention}_{seed}"
        if config == configuration(("identity",)):
            name = "identity_alone"
        measured = group_gaps(trained(name, people, config), others)
        rows.append({"attention": attention, "seed": seed, **measured})
    return rows


def differences(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What gates change, seed by seed: mean and interval of each measure."""
    with_gates, without = (
        [row for row in rows if row["attention"] == attention]
        for attention in ("demographic", "none")
    )
    found = []
    for name in ("eer", "fnmr", "fmr", "fnmr_gap", "fmr_gap"):
        plain = float(np.mean([row[name] for row in without]))
        changes = [
            one[name] - other[name]
            for one, other in zip(with_gates, without, strict=True)
        ]
        mean, low, high = over_seeds(changes)
        found.append(
            {
                "measure": name,
                "without": plain,
                "change": mean,
                "low": low,
                "high": high,
            }
        )
    return found


def print_table(rows: list[dict[str, Any]], cell: Callable[[Any], str]) -> None:
    """Rows of equal keys in columns; a missing value is a dash."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names] + [[cell(row.get(name)) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(text.rjust(w) for text, w in zip(line, widths, strict=True)))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def main() -> None:
    """Renders, trains, measures, prints two tables."""
    work = pathlib.Path(FLAGS.work)
    size = {"images_per_identity": FLAGS.images, "image_size": FLAGS.image_size}
    people, others = (
        ImageDataset(
            render_dataset(
                work / stream,
                num_identities=count,
                stream=stream,
                num_processes=1,
                **size,
            )
        )
        for stream, count in (("train", FLAGS.identities), ("held_out", FLAGS.held_out))
    )
    tasks = compare_tasks(people, others)
    print_table(tasks, _cell)
    attention = compare_attention(people, others)
    changes = differences(attention)
    print_table(changes, _cell)
    if FLAGS.output:
        config = configuration(TASKS)
        record = {
            "benchmark": "multi_task",
            "tasks": tasks,
            "guesses": guesses(others),
            "attention": attention,
            "attention_changes": changes,
            "false_match_rate": FALSE_MATCH_RATE,
            "training": config.settings(),
            "created_with": provenance(
                {
                    name: FLAGS[name].value
                    for name in ("identities", "held_out", "images")
                }
                | {"seeds": FLAGS.seeds, "num_threads": FLAGS.num_threads}
            ),
        }
        files.write_json(FLAGS.output, record)


if __name__ == "__main__":
    run_command(main, FLAGS)
