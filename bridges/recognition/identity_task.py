"""The task of telling people apart: a head and its cross-entropy."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from bridges.datasets.image_source import ImageSource
from bridges.recognition.config import TrainingConfig
from bridges.recognition.heads import build_head
from bridges.recognition.tasks import TaskOutput


class IdentityTask(nn.Module):
    """Classification of the identities of the sources.

    Attributes:
      head: the head that the settings name.
      targets: ``[n]`` int64: image i shows person ``targets[i]`` of ``0 … k-1``. People
        of different sources are different people.
    """

    loss_weight = 1.0

    def __init__(self, config: TrainingConfig, sources: Sequence[ImageSource]) -> None:
        super().__init__()
        counts = [len(source.identities) for source in sources]
        first = np.cumsum([0, *counts])
        self.targets = np.concatenate(
            [source.labels + first[i] for i, source in enumerate(sources)]
        )
        self.head = build_head(
            config.head, config.embedding_size, sum(counts), config.options_of_head()
        )

    def loss(
        self,
        features: torch.Tensor,
        images: torch.Tensor,
        targets: torch.Tensor,
        progress: float,
    ) -> TaskOutput:
        """Cross-entropy, and the fraction of images nearest to their own class."""
        del images
        out = self.head(features, targets, progress)
        loss = nn.functional.cross_entropy(out.logits, targets)
        accuracy = (out.cosines.argmax(1) == targets).float().mean()
        return TaskOutput(loss, {"accuracy": accuracy})
