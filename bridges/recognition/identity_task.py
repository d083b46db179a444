"""The task of telling people apart: a head and its cross-entropy."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from bridges.datasets.image_source import ImageSource
from bridges.recognition.class_sampling import SampledClasses
from bridges.recognition.config import TrainingConfig
from bridges.recognition.heads import build_head
from bridges.recognition.tasks import IDENTITY, TaskOutput
from bridges.training.torchrun import gathered


class IdentityTask(nn.Module):
    """Classification of the identities of the sources.

    Attributes:
      head: the head that the settings name.
      sampling: the classes that steps choose from, where ``config.class_share`` is
        below 1; the head then holds those of the last step.
      targets: ``[n]`` int64: image i shows person ``targets[i]`` of ``0 … k-1``. People
        of different sources are different people.
    """

    loss_weight = 1.0

    def __init__(self, config: TrainingConfig, sources: Sequence[ImageSource]) -> None:
        """Draws the head from torch's global generator.

        Raises:
          InputError: fewer classes to sample than there are images in a batch.
        """
        super().__init__()
        counts = [len(source.identities) for source in sources]
        first = np.cumsum([0, *counts])
        self.targets = np.concatenate(
            [source.labels + first[i] for i, source in enumerate(sources)]
        )
        self.head = build_head(
            config.head, config.embedding_size, sum(counts), config.options_of_head()
        )
        self.sampling: SampledClasses | None = None
        if config.class_share < 1:
            self.sampling = SampledClasses(self.head, config)

    def before_step(
        self,
        targets: Mapping[str, torch.Tensor],
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
    ) -> None:
        """Chooses the classes of a step, where they are sampled."""
        if self.sampling is not None:
            labels = gathered(targets[IDENTITY])
            self.sampling.choose(self.head, labels, optimizer, generator)

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Puts back what the step has changed."""
        if self.sampling is not None:
            self.sampling.put_back(self.head, optimizer)

    def loss(
        self,
        features: torch.Tensor,
        images: torch.Tensor,
        targets: torch.Tensor,
        progress: float,
    ) -> TaskOutput:
        """Cross-entropy, and the fraction of images nearest to their own class.

        Where classes are sampled, the nearest of those.
        """
        del images
        if self.sampling is not None:
            targets = self.sampling.places(targets)
        out = self.head(features, targets, progress)
        loss = nn.functional.cross_entropy(out.logits, targets)
        accuracy = (out.cosines.argmax(1) == targets).float().mean()
        return TaskOutput(loss, {"accuracy": accuracy})
