"""Settings of a recognition training, checked, and the recipes that ship."""

import dataclasses

from bridges.recognition.architectures import ARCHITECTURES
from bridges.recognition.augmentation_strengths import AUGMENTATIONS
from bridges.settings_checks import check_settings
from hyperface_jax import InputError

CHOICES = {
    "backbone": tuple(ARCHITECTURES),
    # The keys of margins.HEADS, which would load torch for a list of names.
    "head": ("adaface",),
    "optimizer": ("adamw", "sgd"),
    "schedule": ("one_cycle", "multi_step"),
    "augmentation": tuple(AUGMENTATIONS),
}
_RANGES = {
    "image_size": (16, 4096),
    "embedding_size": (2, 65536),
    "margin": (0, 1.5),
    "scale": (1e-3, 1e4),
    "concentration": (0, 1e3),
    "margin_warmup": (0, 1),
    "epochs": (1e-6, 1e6),
    "batch_size": (2, 2**20),
    "learning_rate": (1e-12, 1e3),
    "weight_decay": (0, 10),
    "warmup": (0, 1),
    "gradient_clip": (0, 1e9),
    "seed": (0, 2**32 - 1),
}


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Everything a trained recogniser depends on besides its images.

    The defaults train the small backbone in minutes on a CPU; ``RECIPES`` has others.

    Attributes:
      backbone: a key of ``architectures.ARCHITECTURES``.
      image_size: side in pixels, a multiple of 16; images are resampled to it.
      embedding_size: length of an embedding.
      head: a key of ``margins.HEADS``.
      margin: the head's margin.
      scale: the head's scale, the inverse temperature of its softmax.
      concentration: AdaFace's h.
      warm_start: AdaFace's norm statistics start from the first batches.
      margin_warmup: fraction of the training over which the margin grows from 0.
      epochs: passes over the data; may be fractional.
      batch_size: images a step; at most the number of images.
      optimizer: ``"adamw"`` (betas 0.9, 0.99) or ``"sgd"`` (momentum 0.9).
      learning_rate: the highest of the schedule.
      weight_decay: on convolutions, linear layers and the head; none on norms, biases.
        AdamW's is decoupled, SGD's is part of the gradient.
      schedule: ``"one_cycle"`` rises linearly for ``warmup`` and falls as a cosine to
        0; ``"multi_step"`` divides by 10 at each of ``milestones``.
      warmup: fraction of the training over which the learning rate grows from 0.
      milestones: fractions of the training, for ``"multi_step"``.
      gradient_clip: largest norm of the gradient; 0 never clips.
      augmentation: a key of ``augmentation_strengths.AUGMENTATIONS``.
      seed: of weights, order and augmentation.
    """

    backbone: str = "iresnet_small"
    image_size: int = 64
    embedding_size: int = 512
    head: str = "adaface"
    margin: float = 0.4
    scale: float = 32.0
    concentration: float = 0.333
    warm_start: bool = True
    margin_warmup: float = 0.3
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
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self, _RANGES, CHOICES)
        if self.image_size % 16:
            raise InputError(
                f"image_size {self.image_size} is not a positive multiple of 16"
            )
        milestones = self._milestones()
        rising = list(milestones) == sorted(milestones)
        if not rising or not all(0 <= milestone <= 1 for milestone in milestones):
            raise InputError(
                f"milestones {milestones} are not rising fractions of the training, 0-1"
            )
        object.__setattr__(self, "milestones", milestones)

    def _milestones(self) -> tuple[float, ...]:
        try:
            return tuple(float(milestone) for milestone in self.milestones)
        except (TypeError, ValueError):
            raise InputError(
                f"milestones are {self.milestones!r}, expected fractions from 0 to 1"
            ) from None


RECIPES = {
    # About 3 ms an image a step on one core of 2024.
    "small": TrainingConfig(),
    # Section 4 of the HyperFace paper: iResNet-50, AdaFace, SGD 0.1, 30 epochs of 256.
    # It gives no milestones; these are AdaFace's 12, 20, 24 of 26 in proportion.
    "paper": TrainingConfig(
        backbone="iresnet50",
        image_size=112,
        scale=64.0,
        warm_start=False,
        margin_warmup=0.0,
        epochs=30.0,
        batch_size=256,
        optimizer="sgd",
        learning_rate=0.1,
        weight_decay=5e-4,
        schedule="multi_step",
        warmup=0.0,
        gradient_clip=0.0,
    ),
}
