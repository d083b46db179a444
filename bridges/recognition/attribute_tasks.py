"""Pose, age, expression and gender as training tasks: the losses of equation 10.

Mankame et al., equation 10: the sum of the tasks' losses, each with its factor λ. A
loss is the mean over those images of a batch whose records have the label; a batch
without any has loss 0.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from bridges.datasets.image_source import ImageSource
from bridges.recognition.attribute_heads import (
    AttributeHead,
    ClassHead,
    NumberHead,
)
from bridges.recognition.attribute_labels import read_classes, read_numbers
from bridges.recognition.config import TrainingConfig
from bridges.recognition.task_settings import ATTRIBUTE_WEIGHTS
from bridges.recognition.tasks import TaskOutput, TrainingTask


class NumberTask(nn.Module):
    """Regression of numbers: half of the squared error, in standard deviations.

    With the variance of the labels as unit, pose in degrees and age in years are alike,
    and the loss is a Gaussian's negative logarithm, as uncertainty weighting wants it.

    Attributes:
      targets: ``[n, k]`` float32 in the labels' units, NaN where there is none.
    """

    def __init__(
        self,
        task: str,
        unit: str,
        config: TrainingConfig,
        sources: Sequence[ImageSource],
    ) -> None:
        super().__init__()
        fields, self.targets = read_numbers(task, sources)
        self.loss_weight = ATTRIBUTE_WEIGHTS[task]
        self.head = NumberHead(config.embedding_size, fields)
        spread = np.nanstd(self.targets, 0, dtype=np.float64)
        # Labels that are all the same have no spread; their own unit will do.
        spread[spread < 1e-6] = 1.0
        centre = np.nanmean(self.targets, 0, dtype=np.float64)
        self.head.centre.copy_(torch.from_numpy(centre))
        self.head.scale.copy_(torch.from_numpy(spread))
        fields = self.head.fields
        self._metrics = [unit] if fields == (task,) else [f"{f}_{unit}" for f in fields]

    def loss(
        self,
        features: torch.Tensor,
        images: torch.Tensor,
        targets: torch.Tensor,
        progress: float,
    ) -> TaskOutput:
        """Half the mean squared error, and mean absolute errors in physical units."""
        del images, progress
        known = targets.isfinite()
        # NaN times 0 is NaN, in the gradient, too: missing labels have to go first.
        errors = self.head(features) - targets.where(known, self.head.centre)
        standard = errors.where(known, 0.0) / self.head.scale
        count = known.sum()
        loss = 0.5 * standard.square().sum() / count.clamp(min=1)
        absolute = errors.abs().where(known, 0.0).sum(0) / known.sum(0)
        metrics = dict(zip(self._metrics, absolute.unbind(), strict=True))
        return TaskOutput(loss, metrics, count > 0)

    def mirror_targets(
        self, targets: torch.Tensor, mirrored: torch.Tensor
    ) -> torch.Tensor:
        """Mirrored, a face looks and leans the other way."""
        return torch.where(mirrored[:, None], targets * self.head.mirror_signs, targets)


class PoseTask(NumberTask):
    """Yaw, pitch and roll in degrees, those of them that the records have."""

    def __init__(self, config: TrainingConfig, sources: Sequence[ImageSource]) -> None:
        super().__init__("pose", "degrees", config, sources)


class AgeTask(NumberTask):
    """Age in years."""

    def __init__(self, config: TrainingConfig, sources: Sequence[ImageSource]) -> None:
        super().__init__("age", "years", config, sources)


class ClassTask(nn.Module):
    """Classification: cross-entropy, in nats.

    Attributes:
      targets: ``[n]`` int64, -1 where there is no label.
    """

    def __init__(
        self, task: str, config: TrainingConfig, sources: Sequence[ImageSource]
    ) -> None:
        super().__init__()
        names, self.targets = read_classes(task, task, sources)
        self.loss_weight = ATTRIBUTE_WEIGHTS[task]
        self.head = ClassHead(config.embedding_size, names)

    def loss(
        self,
        features: torch.Tensor,
        images: torch.Tensor,
        targets: torch.Tensor,
        progress: float,
    ) -> TaskOutput:
        """Cross-entropy, and the fraction of images of the right class."""
        del images, progress
        return masked_cross_entropy(self.head.linear(features), targets)


class ExpressionTask(ClassTask):
    """The expressions that the records name."""

    def __init__(self, config: TrainingConfig, sources: Sequence[ImageSource]) -> None:
        super().__init__("expression", config, sources)


class GenderTask(ClassTask):
    """Female or male: of records' numbers, those above 0.5 are male."""

    def __init__(self, config: TrainingConfig, sources: Sequence[ImageSource]) -> None:
        super().__init__("gender", config, sources)


def masked_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> TaskOutput:
    """Mean over the images that have a class.

    Args:
      logits: ``[b, k]``.
      targets: ``[b]`` int64, -1 where there is none.
    """
    known = targets >= 0
    count = known.sum()
    total = functional.cross_entropy(logits, targets, ignore_index=-1, reduction="sum")
    right = ((logits.argmax(1) == targets) & known).sum()
    accuracy = torch.where(count > 0, right / count.clamp(min=1), math.nan)
    return TaskOutput(total / count.clamp(min=1), {"accuracy": accuracy}, count > 0)


def trained_heads(tasks: Mapping[str, TrainingTask]) -> dict[str, AttributeHead]:
    """The heads of those tasks that read attributes and were not silenced, by name."""
    heads = {name: getattr(task, "head", None) for name, task in tasks.items()}
    return {
        name: head
        for name, head in heads.items()
        if isinstance(head, AttributeHead) and tasks[name].loss_weight
    }
