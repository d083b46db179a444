"""Settings of a recognition training, checked, and the recipes that ship."""

import dataclasses
from typing import Any

from bridges.recognition.architectures import BACKBONES
from bridges.recognition.augmentation_strengths import AUGMENTATIONS
from bridges.recognition.head_options import AdaFaceOptions, ArcFaceOptions
from bridges.recognition.heads import HEADS, HeadOptions, check_options
from bridges.recognition.task_settings import (
    ATTENTIONS,
    DEFAULT_GROUPS,
    FIXED,
    PLAIN,
    WEIGHTINGS,
    Weights,
    check_attention,
    checked_weights,
    recorded_weights,
)
from bridges.recognition.tasks import IDENTITY, TASKS
from bridges.settings_checks import check_settings
from hyperface_jax import InputError, checks

# MiB of decoded images that a training keeps in memory: 57,000 images of 112 pixels, or
# 174,000 of 64. No setting, because no weight depends on it.
CACHE_MB = 2048
CHOICES = {
    "backbone": BACKBONES,
    # The registry itself: what is registered later counts, too.
    "head": HEADS,
    "optimizer": ("adamw", "sgd"),
    "schedule": ("one_cycle", "multi_step", "polynomial"),
    "augmentation": tuple(AUGMENTATIONS),
    "task_weighting": WEIGHTINGS,
    "attention": ATTENTIONS,
}
_RANGES = {
    "image_size": (16, 4096),
    "embedding_size": (2, 65536),
    "epochs": (1e-6, 1e6),
    "batch_size": (2, 2**20),
    "learning_rate": (1e-12, 1e3),
    "weight_decay": (0, 10),
    "warmup": (0, 1),
    "gradient_clip": (0, 1e9),
    "accumulation": (1, 2**16),
    "class_share": (1e-9, 1),
    "validation_share": (0, 0.9),
    "seed": (0, 2**32 - 1),
}
# Settings that trainings of earlier versions did not have, and what these did.
_LEFT_OUT = {
    "tasks": (IDENTITY,),
    "task_weights": {},
    "task_weighting": FIXED,
    "attention": PLAIN,
    "attention_groups": DEFAULT_GROUPS,
    "accumulation": 1,
    "class_share": 1.0,
    "validation_share": 0.0,
    "dataset_weights": (),
}


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Everything a trained recogniser depends on besides its images.

    The defaults train the small backbone in minutes on a CPU; ``RECIPES`` has others.

    Attributes:
      backbone: one of ``architectures.BACKBONES``.
      image_size: side in pixels, a multiple of 16; images are resampled to it.
      embedding_size: length of an embedding.
      head: a key of ``heads.HEADS``: what the task ``"identity"`` classifies with.
      head_options: the head's own options; None means its defaults.
      tasks: keys of ``tasks.TASKS``: what the backbone is trained for. Their weighted
        losses are added.
      task_weights: the factor of each task's loss: pairs of name and factor, or a
        mapping. Where none is given, the task's own. 0 silences a task.
      task_weighting: ``"fixed"``, or ``"uncertainty"``: the factors are where learned
        ones start, see :mod:`bridges.recognition.task_weighting`.
      attention: ``"none"``, or ``"demographic"``: gates on the backbone's channels for
        each group, see :mod:`bridges.recognition.demographic_attention`.
      attention_groups: the field of the images' records with their group.
      epochs: passes over the images; may be fractional.
      batch_size: images a step; at most the number of images.
      optimizer: ``"adamw"`` (betas 0.9, 0.99) or ``"sgd"`` (momentum 0.9).
      learning_rate: the highest of the schedule.
      weight_decay: of convolutions, linear layers and the head; norms and biases are
        exempt. AdamW's is decoupled, SGD's is part of the gradient.
      schedule: ``"one_cycle"`` rises linearly for ``warmup`` and falls as a cosine to
        0; ``"multi_step"`` divides by 10 at each of ``milestones``; ``"polynomial"``
        falls as the square of what is left, as insightface's.
      warmup: fraction of the training over which the learning rate grows from 0.
      milestones: fractions of the training, for ``"multi_step"``.
      gradient_clip: largest norm of the gradient; 0 never clips.
      augmentation: a key of ``augmentation_strengths.AUGMENTATIONS``.
      accumulation: pieces that a batch is computed in, one after the other, for less
        memory; it divides ``batch_size``. Batch norms see a piece at a time.
      class_share: share of the classes that a step compares with, those of its images
        among them (Partial FC, An et al., CVPR 2022): for many identities.
      validation_share: share of the identities that are not trained on but verified
        after each epoch; the weights of the best epoch are kept. 0 trains on all and
        keeps the last.
      dataset_weights: how often an epoch shows each image of each data set; () for
        once.
      seed: seed of weights, order and augmentation.
    """

    backbone: str = "iresnet_small"
    image_size: int = 64
    embedding_size: int = 512
    head: str = "adaface"
    head_options: HeadOptions | None = None
    tasks: tuple[str, ...] = (IDENTITY,)
    task_weights: Weights = ()
    task_weighting: str = FIXED
    attention: str = PLAIN
    attention_groups: str = DEFAULT_GROUPS
    epochs: float = 10.0
    batch_size: int = 128
    optimizer: str = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    schedule: str = "one_cycle"
    warmup: float = 0.08
    milestones: tuple[float, ...] = (12 / 26, 20 / 26, 24 / 26)
    gradient_clip: float = 5.0
    augmentation: str = "standard"
    accumulation: int = 1
    class_share: float = 1.0
    validation_share: float = 0.0
    dataset_weights: tuple[float, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self, _RANGES, CHOICES)
        if self.image_size % 16:
            raise InputError(
                f"image_size {self.image_size} is not a positive multiple of 16"
            )
        if self.batch_size % self.accumulation:
            raise InputError(
                f"accumulation {self.accumulation} does not divide batch_size "
                f"{self.batch_size}"
            )
        if self.batch_size // self.accumulation < 2:
            raise InputError(
                f"accumulation {self.accumulation} leaves one image of batch_size "
                f"{self.batch_size} in a piece, of which batch norms can't take "
                f"statistics; give at most {self.batch_size // 2}"
            )
        weights = _numbers(self.dataset_weights, "dataset_weights", "numbers above 0")
        if not all(0 < weight <= 1e6 for weight in weights):
            raise InputError(f"dataset_weights {weights} are not all above 0")
        object.__setattr__(self, "dataset_weights", weights)
        milestones = _numbers(self.milestones, "milestones", "fractions from 0 to 1")
        rising = list(milestones) == sorted(milestones)
        if not rising or not all(0 <= milestone <= 1 for milestone in milestones):
            raise InputError(
                f"milestones {milestones} are not rising fractions of the training, 0-1"
            )
        object.__setattr__(self, "milestones", milestones)
        object.__setattr__(self, "tasks", self._checked_tasks())
        task_weights = checked_weights(self.task_weights, self.tasks, self.attention)
        object.__setattr__(self, "task_weights", task_weights)
        check_attention(self.attention, self.attention_groups)
        if self.head_options is not None:
            check_options(self.head, self.head_options)

    def options_of_head(self) -> HeadOptions:
        """The head's options, its defaults where none are given."""
        if self.head_options is None:
            return HEADS[self.head].options()
        return self.head_options

    def settings(self) -> dict[str, Any]:
        """The settings as a flat dictionary, ready for JSON.

        The head's options stand beside the rest; what was added later is left out where
        it is the default.
        """
        settings = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        del settings["head_options"]
        settings["task_weights"] = recorded_weights(self.task_weights, self.tasks)
        for name, default in _LEFT_OUT.items():
            if settings[name] == default:
                del settings[name]
        settings |= dataclasses.asdict(self.options_of_head())
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in settings.items()
        }

    def _checked_tasks(self) -> tuple[str, ...]:
        if isinstance(self.tasks, str) or not self.tasks:
            raise InputError(
                f"tasks are {self.tasks!r}, expected a list of {', '.join(TASKS)}"
            )
        for task in self.tasks:
            checks.one_of(task, "task", tuple(TASKS))
        if len(set(self.tasks)) < len(self.tasks):
            raise InputError(
                f"tasks are {', '.join(self.tasks)}; give each of them once"
            )
        return tuple(self.tasks)


def _numbers(given: Any, name: str, expected: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in given)
    except (TypeError, ValueError):
        raise InputError(f"{name} are {given!r}, expected {expected}") from None


# Section 4 of the HyperFace paper: iResNet-50, AdaFace, SGD 0.1, 30 epochs of 256.
# It gives no milestones; these are AdaFace's 12, 20, 24 of 26 in proportion.
_PAPER = TrainingConfig(
    backbone="iresnet50",
    image_size=112,
    head_options=AdaFaceOptions(scale=64.0, warm_start=False, margin_warmup=0.0),
    epochs=30.0,
    batch_size=256,
    optimizer="sgd",
    learning_rate=0.1,
    weight_decay=5e-4,
    schedule="multi_step",
    warmup=0.0,
    gradient_clip=0.0,
)
RECIPES = {
    # About 3 ms an image a step on one core of 2024.
    "small": TrainingConfig(),
    "paper": _PAPER,
    # Kim et al., 2022, and AdaFace's script for IR-50 on MS1MV2. Its weight decay is on
    # PReLU's slopes, too; here it is on none of the vectors.
    "adaface": dataclasses.replace(
        _PAPER,
        backbone="ir_50",
        epochs=26.0,
        batch_size=512,
        augmentation="adaface",
    ),
    # arcface_torch's iresnet50 on MS1MV3: 128 images on each of 8 GPUs. It clips the
    # backbone's gradient alone; here the head's is part of the norm.
    "insightface": dataclasses.replace(
        _PAPER,
        head="arcface",
        head_options=ArcFaceOptions(),
        epochs=20.0,
        batch_size=1024,
        schedule="polynomial",
        gradient_clip=5.0,
        augmentation="flip",
    ),
}
