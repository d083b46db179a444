"""The tasks a backbone is trained for, by name; loads no torch until one is built.

Several tasks hang on one backbone: each reads the same features and adds its weighted
loss. A task is a module and one registry entry. This one is complete; it regresses an
attribute that the records of the images have::

    import numpy as np
    from torch import nn
    from bridges.recognition.tasks import TASKS, TaskOutput

    class Tilt(nn.Linear):
        loss_weight = 0.5

        def __init__(self, config, sources):
            super().__init__(config.embedding_size, 1)
            tilts = [record["tilt"] for source in sources for record in source.records]
            self.targets = np.array(tilts, np.float32)

        def loss(self, features, images, targets, progress):
            error = self(features)[:, 0] - targets
            return TaskOutput(error.square().mean(), {"error": error.abs().mean()})

    TASKS.register("tilt", Tilt)

From then on ``TrainingConfig(tasks=("identity", "tilt"))`` trains the backbone for both
in this process. To give it to the command, ``hyperface-train --tasks=identity,tilt``,
add an entry to :data:`TASKS` below instead: a string ``"module:attribute"``, so that
nothing is imported before it is asked for.
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
        which is there anyway. NaN, where no image of the batch says, is left out of
        the history's means.
      labelled: scalar bool, False where no image of the batch has a label for the task
        and the loss is 0 for that reason; None where all images always have one.
    """

    loss: "torch.Tensor"
    metrics: "Mapping[str, torch.Tensor]"
    labelled: "torch.Tensor | None" = None


class TrainingTask(Protocol):
    """A ``torch.nn.Module`` with the parameters that a task needs beside the backbone.

    It is built as ``task(config, sources)``, from a
    :class:`~bridges.recognition.config.TrainingConfig` and the list of
    :class:`~bridges.datasets.image_source.ImageSource` objects, with fresh weights
    drawn from torch's global generator. It is saved and optimised together with the
    backbone.

    Where mirroring an image changes what is true of it, as it does where a face looks,
    the task also has ``mirror_targets(targets, mirrored)``, which returns a batch's
    rows of :attr:`targets` for images of which those are mirror images where the bools
    ``mirrored``, ``[b]``, say so.

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


def mirror(
    task: TrainingTask, targets: "torch.Tensor", mirrored: "torch.Tensor"
) -> "torch.Tensor":
    """The targets of a batch in which some images were mirrored.

    Args:
      task: most have the same targets for a mirror image.
      targets: the batch's rows of the task's targets.
      mirrored: ``[b]`` bool.
    """
    change = getattr(task, "mirror_targets", None)
    return change(targets, mirrored) if change else targets


_ATTRIBUTES = "bridges.recognition.attribute_tasks"
TASKS: Registry[Callable[..., TrainingTask]] = Registry(
    "task",
    {
        IDENTITY: "bridges.recognition.identity_task:IdentityTask",
        "pose": f"{_ATTRIBUTES}:PoseTask",
        "age": f"{_ATTRIBUTES}:AgeTask",
        "expression": f"{_ATTRIBUTES}:ExpressionTask",
        "gender": f"{_ATTRIBUTES}:GenderTask",
    },
)
