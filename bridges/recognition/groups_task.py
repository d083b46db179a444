"""The task that teaches a demographic attention which group a face belongs to."""

from collections.abc import Sequence

import torch
from torch import nn

from bridges.datasets.image_source import ImageSource
from bridges.recognition.attribute_labels import read_classes
from bridges.recognition.attribute_tasks import masked_cross_entropy
from bridges.recognition.config import TrainingConfig
from bridges.recognition.demographic_attention import attach
from bridges.recognition.task_settings import GROUPS_TASK
from bridges.recognition.tasks import TaskOutput


class GroupsTask(nn.Module):
    """The cross-entropy that trains an attention's classifier.

    Attributes:
      targets: ``[n]`` int64, -1 where the record has no group.
    """

    loss_weight = 1.0

    def __init__(
        self,
        config: TrainingConfig,
        sources: Sequence[ImageSource],
        backbone: nn.Module,
    ) -> None:
        """Attaches the attention that the settings ask for.

        Args:
          config: the settings.
          sources: the images.
          backbone: gets the attention; owns all of its parameters.
        """
        super().__init__()
        field = config.attention_groups
        groups, self.targets = read_classes(GROUPS_TASK, field, sources)
        # In a list, where a module does not count its parameters as its own.
        self._backbone = [attach(backbone, groups)]

    def loss(
        self,
        features: torch.Tensor,
        images: torch.Tensor,
        targets: torch.Tensor,
        progress: float,
    ) -> TaskOutput:
        """Of the groups that the backbone took the batch's images for."""
        del features, images, progress
        return masked_cross_entropy(self._backbone[0].attention.logits.float(), targets)
