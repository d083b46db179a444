"""The heads compared: same images, same steps, each at its own best learning rate.

    hyperface-demo --output=runs/demo --compare
    python -m benchmarks.head_comparison --run=runs/demo --seeds=3

What Tables 2 and 8 of Mankame et al. compare, measured: for each head and each data set
the accuracy on five verification sets with its spread over the seeds, how fast and how
steadily it trained, and equations 1 to 3 with the columns of Table 1 on people whom no
training saw. The learning rate of a head is the best of ``--learning_rates`` on people
of another seed of the face world, rendered for that alone: never on the sets that are
reported. Scale and warm-up of the margin are the same for all that have them.

Then the packing of the same gallery through each head's recogniser: how far apart
references go depends on the embedder, too.

Trainings are kept under ``--work``; the same command goes on where it stopped.
"""

import concurrent.futures
import dataclasses
import itertools
import json
import multiprocessing
import pathlib
import statistics
from typing import Any

import numpy as np
from absl import flags

from bridges.faces.verification_sets import render_verification_set
from bridges.faces.world import render_dataset
from bridges.recognition.config import TrainingConfig
from bridges.recognition.heads import HEADS
from hyperface_jax import InputError, files
from hyperface_jax.commands import provenance, run_command

FLAGS = flags.FlagValues()
flags.DEFINE_string("run", None, "a demo run made with --compare", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "dataset", [], "name=folder of images, repeatable", flag_values=FLAGS
)
flags.DEFINE_string("work", "runs/head_comparison", "for models", flag_values=FLAGS)
flags.DEFINE_list(
    "heads",
    ["softmax", "sphereface_revived", "cosface", "arcface", "adaface"],
    "what to compare",
    flag_values=FLAGS,
)
flags.DEFINE_integer("seeds", 3, "trainings of each", flag_values=FLAGS)
flags.DEFINE_list(
    "learning_rates",
    ["1e-3", "3e-3"],
    "to choose from; where the lowest is best, a third of it is tried, too",
    flag_values=FLAGS,
)
flags.DEFINE_float("epochs", 6.0, "passes over the images", flag_values=FLAGS)
flags.DEFINE_float(
    "tuning_epochs", 10.0, "the same of the trainings that tune", flag_values=FLAGS
)
flags.DEFINE_integer("num_processes", 2, "trainings at once", flag_values=FLAGS)
flags.DEFINE_string("output", None, "where the record goes", flag_values=FLAGS)

_TUNING_SEED = 1000
# People of other seeds of the world: nobody's who is trained on or reported.
_TUNING_WORLD, _STATISTICS_WORLD = 71, 72
_SHARED = {"scale": 32.0, "margin_warmup": 0.3}


def config_of(
    head: str, learning_rate: float, seed: int, epochs: float
) -> TrainingConfig:
    """The settings of a training; all but the head's own are the same."""
    kind = HEADS[head].options
    shared = {field.name for field in dataclasses.fields(kind)} & set(_SHARED)
    options = {name: _SHARED[name] for name in shared}
    if head == "sphereface":
        # Published for 28,000 steps: 1500 to 5 within the first 3,000. Here, too, the
        # margin is whole after the first third.
        options["lambda_decay"] = 4.0
    return TrainingConfig(
        head=head,
        head_options=kind(**options),
        learning_rate=learning_rate,
        epochs=epochs,
        seed=seed,
    )


@dataclasses.dataclass(frozen=True)
class Job:
    """A training and what it is measured on.

    Attributes:
      dataset: the folder trained on.
      output: of the recogniser; ``metrics.json`` goes inside.
      config: the settings.
      benchmarks: verification sets.
    """

    dataset: str
    output: pathlib.Path
    config: TrainingConfig
    benchmarks: str


def train_and_measure(job: Job) -> dict[str, Any]:
    """Trains in one thread and verifies; returns what there is to report."""
    from bridges.evaluation.verification import verify_checkpoint
    from bridges.recognition.training import train_recogniser

    try:
        record = train_recogniser(job.dataset, job.output, job.config, num_threads=1)
    except InputError as error:
        if "the loss of the task" not in str(error):
            raise
        # A loss that is not finite is a result, too: of the learning rate.
        return {"failed": str(error), "mean_accuracy": 0.0}
    metrics = verify_checkpoint(
        job.output, job.benchmarks, job.output / "metrics.json", device="cpu"
    )
    accuracies = [row["accuracy"] for row in record["history"]]
    return {
        "accuracy": {k: v["accuracy"] for k, v in metrics["benchmarks"].items()},
        "eer": {k: v["eer"] for k, v in metrics["benchmarks"].items()},
        "intervals": {
            name: each["intervals"]["accuracy"]
            for name, each in metrics["benchmarks"].items()
        },
        "mean_accuracy": metrics["mean_accuracy"],
        "mean_accuracy_interval": metrics["mean_accuracy_interval"],
        "training_accuracy": accuracies,
        "epochs_to_half": 1
        + next(
            (i for i, value in enumerate(accuracies) if value >= 0.5), len(accuracies)
        ),
        "seconds": record["seconds"],
    }


def statistics_of(job: tuple[pathlib.Path, pathlib.Path, pathlib.Path]) -> dict:
    """Embedding statistics of a recogniser, and a packing through it.

    Args:
      job: the recogniser, people it has not seen (several images of each), and a
        gallery to pack near.
    """
    from bridges.recognisers.gallery import embed_folder
    from hyperface_jax import PackingConfig, pack_embeddings, separation_statistics

    model, people, gallery = job
    seen = embed_folder(people, model / "people.npz", model=model)
    found = separation_statistics(seen.embeddings, seen.labels)
    near = embed_folder(gallery, model / "gallery.npz", model=model).embeddings
    packed = pack_embeddings(
        near[np.random.default_rng(0).permutation(len(near))[:200]],
        near,
        PackingConfig(num_iterations=300, regularization_weight=2.0),
    )
    nearest = (packed.embeddings @ near.T).max(axis=1)
    return {
        "mean_inter_distance": found.mean_inter_distance,
        "mean_intra_angle": found.mean_intra_angle,
        "min_inter_angle": found.min_inter_angle,
        "identities": found.num_identities,
        "dimension": found.dimension,
        "norm": found.mean_norm,
        "packed_max_cosine": separation_statistics(packed.embeddings).max_inter_cosine,
        "packed_to_gallery_cosine": float(nearest.mean()),
    }


def datasets_given() -> dict[str, str]:
    """What to train on, by name."""
    found = dict(item.split("=", 1) for item in FLAGS.dataset)
    run = pathlib.Path(FLAGS.run)
    found.setdefault("generated", str(run / "dataset"))
    if (run / "compare/rendered/dataset").is_dir():
        found.setdefault("rendered", str(run / "compare/rendered/dataset"))
    return found


def tune(
    work: pathlib.Path, datasets: dict[str, str], pool: Any
) -> dict[str, dict[float, float]]:
    """The accuracy of each head at each learning rate, on the people for tuning."""
    tuning = work / "tuning_set"
    render_verification_set("mixed", tuning, image_size=64, seed=_TUNING_WORLD)
    first = datasets.get("rendered") or next(iter(datasets.values()))
    found: dict[str, dict[float, float]] = {head: {} for head in FLAGS.heads}

    def measure(tried: list[tuple[str, float]]) -> None:
        jobs = [
            Job(
                first,
                work / "tuning" / f"{head}_{rate:g}",
                config_of(head, rate, _TUNING_SEED, FLAGS.tuning_epochs),
                str(tuning),
            )
            for head, rate in tried
        ]
        for (head, rate), row in zip(
            tried, pool.map(train_and_measure, jobs), strict=True
        ):
            found[head][rate] = row["mean_accuracy"]
            print(f"{head}, {rate:g}: {100 * row['mean_accuracy']:.2f} %", flush=True)

    measure([*itertools.product(FLAGS.heads, map(float, FLAGS.learning_rates))])
    lowest = min(map(float, FLAGS.learning_rates))
    measure(
        [(head, 0.3 * lowest) for head in FLAGS.heads if best(found[head]) == lowest]
    )
    return found


def best(scores: dict[float, float]) -> float:
    """The learning rate with the highest score."""
    return max(scores, key=scores.get)


def main() -> None:
    """Tunes, trains, measures; prints two tables and writes the record."""
    if not FLAGS.run:
        raise InputError("--run is needed: a demo run made with --compare")
    work = pathlib.Path(FLAGS.work)
    work.mkdir(parents=True, exist_ok=True)
    datasets = datasets_given()
    people = work / "people"
    render_dataset(
        people,
        num_identities=200,
        images_per_identity=8,
        image_size=64,
        seed=_STATISTICS_WORLD,
    )
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(FLAGS.num_processes, context) as pool:
        tuned = tune(work, datasets, pool)
        rates = {head: best(scores) for head, scores in tuned.items()}
        keys = list(itertools.product(datasets, FLAGS.heads, range(FLAGS.seeds)))
        folders = [work / f"{data}_{head}_{seed}" for data, head, seed in keys]
        jobs = [
            Job(
                datasets[data],
                folder,
                config_of(head, rates[head], seed, FLAGS.epochs),
                f"{FLAGS.run}/verification",
            )
            for (data, head, seed), folder in zip(keys, folders, strict=True)
        ]
        rows = [
            {"dataset": data, "head": head, "seed": seed, **found}
            for (data, head, seed), found in zip(
                keys, pool.map(train_and_measure, jobs), strict=True
            )
        ]
    gallery = pathlib.Path(FLAGS.run) / "gallery"
    for row, folder in zip(rows, folders, strict=True):
        if row["seed"] == 0 and "failed" not in row:
            row["statistics"] = statistics_of((folder, people, gallery))
    print_tables(rows)
    if FLAGS.output:
        record = {"benchmark": "head_comparison", "tuning": tuned, "rows": rows}
        settings = {"epochs": FLAGS.epochs, "learning_rates": rates, **_SHARED}
        settings["tuning_epochs"] = FLAGS.tuning_epochs
        files.write_json(FLAGS.output, {**record, "created_with": provenance(settings)})


def print_tables(rows: list[dict[str, Any]]) -> None:
    """Accuracies in per cent, mean and standard deviation over seeds; statistics.

    The interval is of the people that are verified, the mean of the seeds' ends: other
    people would give a mean in it. It is not of the difference of two heads, which are
    measured on the same people.
    """
    for row in rows:
        if "failed" in row:
            print(f"{row['dataset']}, {row['head']}, {row['seed']}: {row['failed']}")
    rows = [row for row in rows if "failed" not in row]
    for data in dict.fromkeys(row["dataset"] for row in rows):
        of_data = [row for row in rows if row["dataset"] == data]
        names = list(of_data[0]["accuracy"])
        print(f"\ntrained on {data}; accuracy in %, mean ± std over the seeds")
        header = ["", *names, "mean", "95 % interval", "epochs to half"]
        print(" ".join(f"{name:>18}" for name in header))
        for head in dict.fromkeys(row["head"] for row in of_data):
            runs = [row for row in of_data if row["head"] == head]
            cells = [_spread([run["accuracy"][name] for run in runs]) for name in names]
            cells.append(_spread([run["mean_accuracy"] for run in runs]))
            ends = np.mean([run["mean_accuracy_interval"] for run in runs], axis=0)
            cells.append("{:.1f} to {:.1f}".format(*(100 * ends)))
            cells.append(str([run["epochs_to_half"] for run in runs]))
            print(" ".join(f"{cell:>18}" for cell in [head, *cells]))
    for row in rows:
        if "statistics" in row:
            print(row["dataset"], row["head"], json.dumps(row["statistics"]))


def _spread(values: list[float]) -> str:
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{100 * mean:.2f}"
    spread = statistics.stdev(values)
    return f"{100 * mean:.2f} ± {100 * spread:.2f}"


if __name__ == "__main__":
    run_command(main, FLAGS)
