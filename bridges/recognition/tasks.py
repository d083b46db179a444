"""The tasks a backbone is trained for, by name; loads no torch until one is built.

Several tasks hang on one backbone: each reads the same features and adds its weighted
loss. A new one is a module that follows :class:`TrainingTask` and a line in
:data:`TASKS`.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from bridges.registry import Registry

if TYPE_CHECKING:
    import torch

IDENTITY = "identity"


class TaskOutput(NamedTuple):
    """What a task computes for a batch.

    Attributes:
      loss: scalar, the mean over the batch, before the task's weight.
      metrics: scalars for the history by name, means over the batch; not ``"loss"``,
        which is there anyway.
    """

    loss: "torch.Tensor"
    metrics: "Mapping[str, torch.Tensor]"


class TrainingTask(Protocol):
    """A ``torch.nn.Module`` with the parameters that a task needs beside the backbone.

    It is built as ``task(config, sources)``, from a
    :class:`~bridges.recognition.config.TrainingConfig` and the list of
    :class:`~bridges.datasets.image_source.ImageSource` objects, with fresh weights
    drawn from torch's global generator. It is saved and optimised together with the
    backbone.

    Attributes:
      loss_weight: the factor of its loss in the sum over the tasks.
      targets: ``[n]`` or ``[n, k]``, a row for each image of the sources, in their
        order. They are kept in memory.
    """

    loss_weight: float
    targets: np.ndarray

    def loss(
        self,
        features: "torch.Tensor",
        images: "torch.Tensor",
        targets: "torch.Tensor",
        progress: float,
    ) -> TaskOutput:
        """Loss and metrics of a batch.

        Args:
          features: ``[b, embedding_size]`` float32, outputs of the backbone, not
            normalised.
          images: ``[b, 3, s, s]`` float32 RGB in about [-1, 1]: what the backbone was
            given, augmented.
          targets: the batch's rows of :attr:`targets`, on the same device.
          progress: fraction of the training that is done, from 0 to 1.
        """


TASKS: Registry[Callable[..., TrainingTask]] = Registry(
    "task", {IDENTITY: "bridges.recognition.identity_task:IdentityTask"}
)
