"""Recognisers trained from scratch on equally many images of different making.

    hyperface-demo --output=runs/demo --compare
    python -m benchmarks.training_comparison --run=runs/demo --seeds=3

compares the generated images of a demo run with equally many rendered ones ("real") and
with images generated of references that were not packed. Any other image datasets are
compared with ``--dataset=name=folder``, repeated. Each is cut to the size of the
smallest: as many identities, as many images of each. Trainings are kept under
``--work`` and resumed if incomplete.
"""

import dataclasses
import pathlib
import statistics

import numpy as np
from absl import flags

from bridges.datasets.image_dataset import ImageDataset, ImageDatasetWriter
from bridges.evaluation.verification import verify_checkpoint
from bridges.recognition.config import TrainingConfig
from bridges.recognition.training import train_recogniser
from hyperface_jax import InputError, files
from hyperface_jax.commands import provenance, run_command

FLAGS = flags.FlagValues()

flags.DEFINE_string("run", None, "a demo run made with --compare", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "dataset", [], "name=folder of an image dataset, repeatable", flag_values=FLAGS
)
flags.DEFINE_string(
    "verification",
    None,
    "folder of verification sets; by default the run's",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "work", "runs/training_comparison", "for checkpoints", flag_values=FLAGS
)
flags.DEFINE_integer("seeds", 1, "trainings of each dataset", flag_values=FLAGS)
flags.DEFINE_float("epochs", 20.0, "passes over the images", flag_values=FLAGS)
flags.DEFINE_integer(
    "batch_size", TrainingConfig.batch_size, "images a step", flag_values=FLAGS
)
flags.DEFINE_integer("num_threads", None, "threads to compute with", flag_values=FLAGS)
flags.DEFINE_string(
    "output", None, "where the JSON record goes, if anywhere", flag_values=FLAGS
)


def find_datasets() -> dict[str, pathlib.Path]:
    """The datasets to compare, by name.

    Raises:
      InputError: fewer than one.
    """
    found = {}
    if FLAGS.run:
        run = pathlib.Path(FLAGS.run)
        found["generated"] = run / "dataset"
        for folder in sorted((run / "compare").glob("*/dataset")):
            found[folder.parent.name] = folder
    for item in FLAGS.dataset:
        name, _, folder = item.partition("=")
        found[name] = pathlib.Path(folder)
    if not found:
        raise InputError("give --run, or --dataset=name=folder, or both")
    return found


def cut_to(
    dataset: ImageDataset, identities: int, images: int, folder: pathlib.Path
) -> None:
    """Copies the first identities and images of each into a dataset folder."""
    settings = {
        "source": dataset.fingerprint(),
        "identities": identities,
        "images": images,
    }
    with ImageDatasetWriter(folder, settings=settings, kind="subset") as writer:
        for identity in range(identities):
            rows = np.flatnonzero(dataset.labels == identity)[:images]
            for index, row in enumerate(rows):
                if writer.complete or (identity, index) in writer.done:
                    continue
                record = {"identity": identity, "index": index, "seed": 0}
                writer.write(dataset.paths[row].read_bytes(), record)
        writer.finish()


def train_and_measure(
    folder: pathlib.Path, work: pathlib.Path, config: TrainingConfig, sets: str
) -> dict:
    """Trains on a folder and measures on the verification sets.

    Returns:
      ``accuracy`` and ``accuracy_std`` by set, and ``mean_accuracy``; fractions.
    """
    checkpoint = work / f"seed_{config.seed}"
    train_recogniser(folder, checkpoint, config, num_threads=FLAGS.num_threads)
    metrics = verify_checkpoint(checkpoint, sets, work / f"metrics_{config.seed}.json")
    results = metrics["benchmarks"]
    return {
        "accuracy": {name: each["accuracy"] for name, each in results.items()},
        "accuracy_std": {name: each["accuracy_std"] for name, each in results.items()},
        "mean_accuracy": metrics["mean_accuracy"],
    }


def main() -> None:
    """Trains, measures, prints a table."""
    if not (FLAGS.verification or FLAGS.run):
        raise InputError("--verification is needed: the sets to measure on")
    sets = FLAGS.verification or f"{FLAGS.run}/verification"
    datasets = {name: ImageDataset(path) for name, path in find_datasets().items()}
    identities = min(len(each.identities) for each in datasets.values())
    images = min(int(np.bincount(each.labels).min()) for each in datasets.values())
    config = TrainingConfig(epochs=FLAGS.epochs, batch_size=FLAGS.batch_size)
    rows = []
    for name, dataset in datasets.items():
        work = pathlib.Path(FLAGS.work) / name
        cut_to(dataset, identities, images, work / "dataset")
        for seed in range(FLAGS.seeds):
            seeded = dataclasses.replace(config, seed=seed)
            row = train_and_measure(work / "dataset", work, seeded, sets)
            rows.append({"dataset": name, "seed": seed, **row})
    print_table(rows, f"{identities} identities x {images} images")
    if FLAGS.output:
        settings = {
            "identities": identities,
            "images_per_identity": images,
            "training": config.settings(),
        }
        record = {"benchmark": "training_comparison", "rows": rows}
        record["created_with"] = provenance(settings)
        files.write_json(FLAGS.output, record)


def print_table(rows: list[dict], title: str) -> None:
    """10-fold accuracy in per cent: mean over seeds ± mean std over folds."""
    names = list(rows[0]["accuracy"])
    print(f"trained on {title}; 10-fold accuracy ± std over folds, %")
    print(" ".join(f"{name:>16}" for name in ["", *names, "mean"]))
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        of_dataset = [row for row in rows if row["dataset"] == dataset]
        cells = []
        for name in names:
            accuracy = statistics.mean(row["accuracy"][name] for row in of_dataset)
            spread = statistics.mean(row["accuracy_std"][name] for row in of_dataset)
            cells.append(f"{100 * accuracy:.2f} ± {100 * spread:.2f}")
        mean = statistics.mean(row["mean_accuracy"] for row in of_dataset)
        cells.append(f"{100 * mean:.2f}")
        print(" ".join(f"{cell:>16}" for cell in [dataset, *cells]))


if __name__ == "__main__":
    run_command(main, FLAGS)
