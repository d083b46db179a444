"""Trains a face recogniser on a folder of labelled images.

The folder is a dataset made by hyperface-render or hyperface-generate, or has one
folder of images per identity. Interrupted, the same command resumes. Example:

    hyperface-train --dataset=dataset --output=checkpoint
    hyperface-train --dataset=dataset --recipe=paper --output=checkpoint
    hyperface-train --dataset=dataset --tasks=identity,pose,age --output=checkpoint

On several GPUs:

    torchrun --nproc_per_node=4 --no-python hyperface-train --dataset=dataset ...

The output folder holds model.safetensors, config.json and training.json, and is what
hyperface-verify and hyperface-embed take.
"""

import dataclasses
from typing import Any

from absl import flags

from bridges import device_flags, folder_flags
from bridges.config_flags import (
    config_from_flags,
    define_config_flags,
    define_options_flags,
    options_from_flags,
)
from bridges.recognition.config import CACHE_MB, CHOICES, RECIPES, TrainingConfig
from bridges.recognition.heads import HEADS
from bridges.recognition.task_settings import ATTRIBUTE_WEIGHTS
from bridges.recognition.tasks import TASKS
from hyperface_jax.commands import require_flags, run_command

FLAGS = flags.FlagValues()

_HEAD_OPTIONS = {name: HEADS[name].options() for name in HEADS}

_HELP = {
    "backbone": "the network",
    "image_size": "side in pixels, a multiple of 16",
    "embedding_size": "length of an embedding",
    "head": "the margin loss",
    "tasks": "what the backbone is trained for, with commas between them: "
    + ", ".join(TASKS),
    "task_weights": "the factor of a task's loss, such as pose:0.1,age:0.5; 0 silences "
    "a task; by default "
    + ", ".join(f"{name} {factor:g}" for name, factor in ATTRIBUTE_WEIGHTS.items())
    + " and 1 for the rest",
    "task_weighting": "keep the factors, or learn them from each task's uncertainty, "
    "starting from them",
    "attention": "gates on the backbone's channels: none, or demographic: for each "
    "group of people, weighted by how likely an image shows one of it",
    "attention_groups": "the field of the images' records with their group, of "
    "--attention=demographic: group, gender, ethnicity, …",
    "epochs": "passes over the images; may be fractional",
    "batch_size": "images a step",
    "optimizer": "the optimiser",
    "learning_rate": "highest learning rate",
    "weight_decay": "weight decay; norms and biases are exempt",
    "schedule": "course of the learning rate",
    "warmup": "fraction of the training over which the learning rate grows from 0",
    "milestones": "fractions of the training at which multi_step divides by 10",
    "gradient_clip": "largest norm of the gradient; 0 never clips",
    "accumulation": "pieces that a batch is computed in, one after the other, where it "
    "does not fit into memory",
    "class_share": "share of the identities that a step compares with, for many of "
    "them (Partial FC)",
    "validation_share": "share of the identities that are held out, verified after "
    "each epoch, and pick the weights that are kept",
    "dataset_weights": "how often an epoch shows each image of each --dataset, with "
    "commas; by default once",
    "augmentation": "how strongly images are varied",
    "seed": "seed of weights, order and augmentation",
}

folder_flags.define_path_list(
    "dataset",
    "folder of images to train on, or several with commas; people of different folders "
    "are taken to be different ones",
    FLAGS,
)
flags.DEFINE_string("output", None, "folder for the recogniser", flag_values=FLAGS)
flags.DEFINE_enum(
    "recipe",
    "small",
    list(RECIPES),
    "settings to start from: small trains in minutes on a CPU; paper is HyperFace's, "
    "adaface and insightface are theirs; every other flag given overrides it",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "checkpoint_minutes", 1.0, "how often to save the state", flag_values=FLAGS
)
flags.DEFINE_integer(
    "num_threads",
    None,
    "threads to compute with, by default all cores",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "cache_mb",
    CACHE_MB,
    "MiB that decoded images may take in memory: 2048 hold 57,000 of 112 pixels; if "
    "they don't all fit, each batch is decoded when it is needed",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "num_processes",
    None,
    "processes that decode images that don't fit, by default one a core, at most 8",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "check_images",
    True,
    "decode every image once before training; without it, one that can't be read is "
    "found midway: --skip_unreadable goes on without it",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "compile",
    False,
    "have torch.compile make the kernels: a slow start, then faster steps on a GPU",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "tensorboard", None, "folder for TensorBoard's files, if any", flag_values=FLAGS
)
flags.DEFINE_string(
    "initial",
    None,
    "a recogniser whose backbone to begin with: a name or a folder; by default it is "
    "drawn",
    flag_values=FLAGS,
)
folder_flags.define(FLAGS)
device_flags.define(FLAGS)
define_config_flags(TrainingConfig(), _HELP, FLAGS, choices=CHOICES)
define_options_flags(_HEAD_OPTIONS, FLAGS)


def config_given() -> TrainingConfig:
    """The settings of the recipe, with those that flags give in their place."""
    config = RECIPES[FLAGS.recipe]
    options = config.options_of_head()
    if FLAGS.head != config.head and FLAGS["head"].present:
        options = _HEAD_OPTIONS[FLAGS.head]
        config = dataclasses.replace(config, head=FLAGS.head, head_options=options)
    options = options_from_flags(config.head, options, FLAGS, _HEAD_OPTIONS)
    config = dataclasses.replace(config, head_options=options)
    return config_from_flags(config, FLAGS)


def main() -> None:
    """Trains with the recipe and the settings that the flags give."""
    require_flags(FLAGS, "dataset", "output")
    config = config_given()
    from bridges.recognition.training import train_recogniser
    from bridges.training import torchrun

    record = train_recogniser(
        FLAGS.dataset,
        FLAGS.output,
        config,
        checkpoint_minutes=FLAGS.checkpoint_minutes,
        num_threads=FLAGS.num_threads,
        cache_mb=FLAGS.cache_mb,
        num_processes=FLAGS.num_processes,
        check_images=FLAGS.check_images,
        compiled=FLAGS.compile,
        tensorboard=FLAGS.tensorboard,
        initial=FLAGS.initial,
        **folder_flags.given(FLAGS),
        **device_flags.given(FLAGS),
    )
    torchrun.leave()
    if torchrun.rank():
        return
    print(f"{FLAGS.output}: {summary(record)}")


def summary(record: dict[str, Any]) -> str:
    """What a finished training says of itself, in one line.

    Args:
      record: the content of ``training.json``.
    """
    kept, epoch = record["history"][-1], "last epoch"
    images, identities = (record["data"][name] for name in ("images", "identities"))
    held_out = record.get("validation")
    if held_out is not None:
        images -= held_out["images"]
        identities -= held_out["identities"]
        (kept,) = (
            row for row in record["history"] if row["epoch"] == held_out["kept_epoch"]
        )
        epoch = f"epoch {kept['epoch']}, the best"
    figures = [
        f"{name} {value:.3f}"
        for name, value in kept.items()
        if name not in ("epoch", "step", "seconds")
    ]
    return (
        f"trained on {images} images of {identities} identities in "
        f"{record['seconds'] / 60:.1f} minutes; {epoch}: {', '.join(figures)}"
    )


def run() -> None:
    """Entry point of ``hyperface-train``."""
    run_command(main, FLAGS)


if __name__ == "__main__":
    run()
