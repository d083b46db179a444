"""Recognisers trained from scratch on equally many images of different making.

    hyperface-demo --output=runs/demo --compare
    python -m benchmarks.training_comparison --run=runs/demo --seeds=3

compares the generated images of a demo run with equally many rendered ones ("real") and
with images generated of references that were not packed. Any other image datasets are
compared with ``--dataset=name=folder``, repeated. Each is cut to the size of the
smallest: as many identities, as many images of each. Trainings are kept under
``--work`` and gone on with when stopped.
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


def cut_to(dataset: ImageDataset, identities: int, images: int, folder: str) -> None:
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


def main() -> None:
    """Trains, measures, prints a table."""
    datasets = {name: ImageDataset(path) for name, path in find_datasets().items()}
    identities = min(len(each.identities) for each in datasets.values())
    images = min(int(np.bincount(each.labels).min()) for each in datasets.values())
    if not (FLAGS.verification or FLAGS.run):
        raise InputError("--verification is needed: the sets to measure on")
    verification = FLAGS.verification or f"{FLAGS.run}/verification"
    work, rows = pathlib.Path(FLAGS.work), []
    for name, dataset in datasets.items():
        folder = work / name / "dataset"
        cut_to(dataset, identities, images, str(folder))
        for seed in range(FLAGS.seeds):
            config = dataclasses.replace(
                TrainingConfig(),
                epochs=FLAGS.epochs,
                batch_size=FLAGS.batch_size,
                seed=seed,
            )
            checkpoint = work / name / f"seed_{seed}"
            train_recogniser(folder, checkpoint, config, num_threads=FLAGS.num_threads)
            metrics = verify_checkpoint(
                checkpoint, verification, work / name / f"metrics_{seed}.json"
            )
            rows.append(
                {
                    "dataset": name,
                    "seed": seed,
                    "accuracy": {
                        key: value["accuracy"]
                        for key, value in metrics["benchmarks"].items()
                    },
                    "accuracy_std": {
                        key: value["accuracy_std"]
                        for key, value in metrics["benchmarks"].items()
                    },
                    "mean_accuracy": metrics["mean_accuracy"],
                }
            )
    print_table(rows, f"{identities} identities x {images} images")
    if FLAGS.output:
        settings = {
            "identities": identities,
            "images_per_identity": images,
            "training": dataclasses.asdict(config),
        }
        files.write_json(
            FLAGS.output,
            {
                "benchmark": "training_comparison",
                "rows": rows,
                "created_with": provenance(settings),
            },
        )


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
