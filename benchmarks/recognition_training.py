"""Training steps a backbone at a time: ours beside a plain PyTorch loop, and embedding.

    python -m benchmarks.recognition_training --num_threads=1
    python -m benchmarks.recognition_training --variants=plain,ours,bfloat16,compile

A step is augmentation, forward, backward and the optimiser; reading images is not in
it. ``plain`` is what one would write down: images to floats, a mirror image or not, the
network in torch's own memory layout, AdaFace's head, AdamW. Each variant runs
``--steps`` steps in turn with the others; its speed is that of its median step.
Embedding is an evaluation of the image and of its mirror image.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from absl import flags
from torch import nn

from benchmarks.torch_stages import People
from bridges.devices import Device, find_device
from bridges.recognisers.iresnet import IResNetRecogniser
from bridges.recognition.backbones import build_backbone
from bridges.recognition.config import RECIPES, TrainingConfig
from bridges.recognition.heads import build_head
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
flags.DEFINE_list(
    "variants",
    ["plain", "ours"],
    "what to time: plain, plain_channels_last, ours, bfloat16, float16, compile",
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

Step = Callable[[int], None]


def plain_loop(
    config: TrainingConfig,
    images: torch.Tensor,
    people: People,
    layout: torch.memory_format,
) -> Step:
    """A step as one would write it down."""
    device = images.device
    backbone = build_backbone(config.backbone, image_size=config.image_size)
    backbone = backbone.to(device, memory_format=layout).train()
    head = build_head("adaface", 512, len(people.identities)).to(device)
    parameters = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(
        [p for p in parameters if p.requires_grad], lr=1e-3, weight_decay=0.05
    )
    labels = torch.from_numpy(people.labels).to(device)

    def step(number: int) -> None:
        x = images.float() / 127.5 - 1
        x = (x.flip(3) if number % 2 else x).contiguous(memory_format=layout)
        loss = nn.functional.cross_entropy(head(backbone(x), labels).logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def our_loop(
    config: TrainingConfig,
    images: torch.Tensor,
    people: People,
    device: Device,
    *,
    compiled: bool,
) -> Step:
    """A step of ``train_recogniser``."""
    state = init_training(config, [people], device, compiled=compiled)
    state.backbone.train()
    targets = {"identity": torch.from_numpy(people.labels).to(device.torch)}

    def step(number: int) -> None:
        generator = step_generator(0, number)
        train_step(state, images, targets, config, progress=0.5, generator=generator)

    return step


def prepare(
    variant: str, config: TrainingConfig, images: torch.Tensor, people: People
) -> Step:
    """The step of a variant."""
    if variant.startswith("plain"):
        last = variant == "plain_channels_last"
        layout = torch.channels_last if last else torch.contiguous_format
        return plain_loop(config, images, people, layout)
    precision = variant if variant in ("bfloat16", "float16") else "float32"
    device = find_device("auto", precision, quiet=True)
    return our_loop(config, images, people, device, compiled=variant == "compile")


def time_training(
    config: TrainingConfig, num_identities: int, steps: int, variants: list[str]
) -> list[dict]:
    """Times one backbone; a row for each variant."""
    rng = np.random.default_rng(0)
    size, batch = config.image_size, config.batch_size
    pixels = rng.integers(0, 256, (batch, size, size, 3), np.uint8)
    place = find_device("auto", quiet=True)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(place.torch)
    people = People(num_identities, rng.integers(0, num_identities, batch))
    prepared = {name: prepare(name, config, images, people) for name in variants}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(steps + 1):
        for name, step in prepared.items():
            start = time.perf_counter()
            step(number)
            if place.torch.type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(each[1:]) for name, each in seconds.items()}
    return [
        {
            "backbone": config.backbone,
            "image_size": size,
            "batch_size": batch,
            "variant": name,
            "first_step_seconds": seconds[name][0],
            "training_milliseconds": 1e3 * median / batch,
            "images_per_second": batch / median,
            "times_plain": medians.get("plain", median) / median,
        }
        for name, median in medians.items()
    ]


def time_embedding(config: TrainingConfig, steps: int) -> float:
    """Milliseconds to embed an image with its mirror image."""
    size, batch = config.image_size, config.batch_size
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    recogniser = IResNetRecogniser(
        build_backbone(config.backbone, image_size=size),
        image_size=size,
        embedding_size=config.embedding_size,
        model={"name": config.backbone, "sha256": ""},
        device=find_device("auto", quiet=True),
    )
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        recogniser.embed(pixels)
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds[1:]) / batch


def main() -> None:
    """Times all cases and prints a table."""
    if FLAGS.num_threads:
        torch.set_num_threads(FLAGS.num_threads)
    print(
        f"{'backbone':14} {'pixels':>6} {'batch':>5} {'variant':>20} {'train ms':>9} "
        f"{'images/s':>9} {'x plain':>8} {'embed ms':>9}"
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
        embedding = time_embedding(config, FLAGS.steps)
        for row in time_training(config, FLAGS.identities, FLAGS.steps, FLAGS.variants):
            row["embedding_milliseconds"] = embedding
            rows.append(row)
            print(
                f"{row['backbone']:14} {row['image_size']:>6} {row['batch_size']:>5} "
                f"{row['variant']:>20} {row['training_milliseconds']:>9.2f} "
                f"{row['images_per_second']:>9.1f} {row['times_plain']:>8.2f} "
                f"{embedding:>9.2f}"
            )
    if FLAGS.output:
        settings = {
            "threads": torch.get_num_threads(),
            "identities": FLAGS.identities,
            "device": find_device("auto", quiet=True).describe(),
        }
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
