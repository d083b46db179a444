"""Milliseconds of a head's forward, backward and update against the number of classes.

    python -m benchmarks.head_cost

The features are there already: this is what a head adds to a step. With a share of the
classes below 1 they are sampled (Partial FC): logits, their gradients and the update
are of so many columns, and moving these in and out of the whole is part of the time.
"""

import dataclasses
import itertools
import statistics
import time

import numpy as np
import torch
from absl import flags

from benchmarks.torch_stages import People
from bridges.devices import find_device
from bridges.recognition.config import TrainingConfig
from bridges.recognition.heads import HEADS
from bridges.recognition.identity_task import IdentityTask
from bridges.recognition.steps import step_generator
from hyperface_jax import files
from hyperface_jax.commands import provenance, run_command

FLAGS = flags.FlagValues()
flags.DEFINE_list("heads", list(HEADS), "which", flag_values=FLAGS)
flags.DEFINE_list("classes", ["10000", "100000"], "how many", flag_values=FLAGS)
flags.DEFINE_list("class_shares", ["1", "0.1"], "shares of them", flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 128, "features a step", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 5, "timed after one untimed", flag_values=FLAGS)
flags.DEFINE_integer("num_threads", 0, "0 leaves torch's choice", flag_values=FLAGS)
flags.DEFINE_string("output", None, "where the record goes", flag_values=FLAGS)


def time_head(config: TrainingConfig, classes: int, repeats: int) -> list[float]:
    """Seconds of each step."""
    device = find_device("auto", quiet=True).torch
    random = np.random.default_rng(0)
    people = People(classes, random.integers(0, classes, config.batch_size))
    task = IdentityTask(config, [people]).to(device)
    optimizer = torch.optim.SGD(task.head.parameters(), lr=0.1, momentum=0.9)
    features = torch.randn(config.batch_size, 512, device=device)
    labels = torch.from_numpy(people.labels).to(device)
    seconds = []
    for number in range(repeats + 1):
        x = features.clone().requires_grad_()
        start = time.perf_counter()
        task.before_step({"identity": labels}, optimizer, step_generator(0, number))
        optimizer.zero_grad(set_to_none=True)
        task.loss(x, x, labels, 1.0).loss.backward()
        optimizer.step()
        task.after_step(optimizer)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    """Times every head at every number of classes, and prints a table."""
    if FLAGS.num_threads:
        torch.set_num_threads(FLAGS.num_threads)
    base = TrainingConfig(batch_size=FLAGS.batch_size, optimizer="sgd")
    rows = []
    print(f"{'head':20} {'classes':>9} {'share':>6} {'ms a step':>10}")
    for classes, head, share in itertools.product(
        map(int, FLAGS.classes), FLAGS.heads, map(float, FLAGS.class_shares)
    ):
        config = dataclasses.replace(base, head=head, class_share=share)
        median = statistics.median(time_head(config, classes, FLAGS.repeats)[1:])
        rows.append(
            {
                "head": head,
                "classes": classes,
                "class_share": share,
                "milliseconds": 1e3 * median,
            }
        )
        print(f"{head:20} {classes:>9,} {share:>6} {1e3 * median:>10.2f}", flush=True)
    if FLAGS.output:
        settings = {
            "batch_size": FLAGS.batch_size,
            "threads": torch.get_num_threads(),
            "device": find_device("auto", quiet=True).describe(),
        }
        record = {"benchmark": "head_cost", "rows": rows}
        files.write_json(FLAGS.output, {**record, "created_with": provenance(settings)})


if __name__ == "__main__":
    run_command(main, FLAGS)
