"""Milliseconds an image of a recognition training step, backbone by backbone.

    python -m benchmarks.recognition_training --num_threads=1

A step is augmentation, forward, backward and the optimiser; reading images is not in
it. Embedding is an evaluation of the image and of its mirror image.
"""

import dataclasses
import statistics
import time

import numpy as np
import torch
from absl import flags

from benchmarks.torch_stages import People
from bridges.recognisers.iresnet import IResNetRecogniser
from bridges.recognition.config import RECIPES, TrainingConfig
from bridges.recognition.state import init_training
from bridges.recognition.steps import step_generator, train_step
from hyperface_jax import files
from hyperface_jax.commands import provenance, run_command

FLAGS = flags.FlagValues()

flags.DEFINE_multi_string(
    "case",
    ["iresnet_small:64:128", "iresnet18:112:32", "iresnet50:112:16"],
    "backbone:image_size:batch_size, repeatable",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "steps", 5, "how many steps to time, after one untimed", flag_values=FLAGS
)
flags.DEFINE_integer("identities", 4000, "classes of the head", flag_values=FLAGS)
flags.DEFINE_integer(
    "num_threads", 0, "threads, 0 leaves torch's choice", flag_values=FLAGS
)
flags.DEFINE_string(
    "output", None, "where the JSON record goes, if anywhere", flag_values=FLAGS
)


def time_case(config: TrainingConfig, num_identities: int, steps: int) -> dict:
    """Times one backbone.

    Returns:
      The case, its number of parameters, and medians in milliseconds an image.
    """
    rng = np.random.default_rng(0)
    size, batch = config.image_size, config.batch_size
    pixels = rng.integers(0, 256, (batch, size, size, 3), np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    people = People(num_identities, rng.integers(0, num_identities, batch))
    targets = {"identity": torch.from_numpy(people.labels)}
    state = init_training(config, [people])
    training = []
    for step in range(steps + 1):
        start = time.perf_counter()
        generator = step_generator(0, step)
        train_step(state, images, targets, config, progress=0.5, generator=generator)
        training.append(1e3 * (time.perf_counter() - start) / batch)
    recogniser = IResNetRecogniser(
        state.backbone,
        image_size=size,
        embedding_size=config.embedding_size,
        model={"name": config.backbone, "sha256": ""},
    )
    embedding = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        recogniser.embed(pixels)
        embedding.append(1e3 * (time.perf_counter() - start) / batch)
    return {
        "backbone": config.backbone,
        "image_size": size,
        "batch_size": batch,
        "parameters": sum(p.numel() for p in state.backbone.parameters()),
        "training_milliseconds": statistics.median(training[1:]),
        "embedding_milliseconds": statistics.median(embedding[1:]),
    }


def main() -> None:
    """Times all cases and prints a table."""
    if FLAGS.num_threads:
        torch.set_num_threads(FLAGS.num_threads)
    print(
        f"{'backbone':14} {'pixels':>6} {'batch':>5} {'parameters':>11} "
        f"{'train ms':>9} {'embed ms':>9}"
    )
    rows = []
    for case in FLAGS.case:
        backbone, size, batch = case.split(":")
        config = dataclasses.replace(
            RECIPES["small"],
            backbone=backbone,
            image_size=int(size),
            batch_size=int(batch),
        )
        row = time_case(config, FLAGS.identities, FLAGS.steps)
        rows.append(row)
        print(
            f"{row['backbone']:14} {row['image_size']:>6} {row['batch_size']:>5} "
            f"{row['parameters']:>11,} {row['training_milliseconds']:>9.2f} "
            f"{row['embedding_milliseconds']:>9.2f}"
        )
    if FLAGS.output:
        settings = {"threads": torch.get_num_threads(), "identities": FLAGS.identities}
        files.write_json(
            FLAGS.output,
            {
                "benchmark": "recognition_training",
                "rows": rows,
                "created_with": provenance(settings),
            },
        )


if __name__ == "__main__":
    run_command(main, FLAGS)
