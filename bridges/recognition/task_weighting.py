"""The sum of the tasks' losses, with factors that are kept or learned.

Kept, it is equation 10 of Mankame et al., :math:`\\sum_t \\lambda_t L_t`. Learned, it
is the negative logarithm of a likelihood with a noise of its own for each task
(Kendall, Gal and Cipolla, "Multi-task learning using uncertainty to weigh losses for
scene geometry and semantics", 2018, equations 7 and 10):

.. math::

    \\sum_t e^{-s_t} L_t + s_t / 2, \\quad s_t = \\log \\sigma_t^2

with :math:`s_t` trained beside the rest, from :math:`-\\log \\lambda_t` on. Where the
losses stay, each is best at :math:`s_t = \\log 2 L_t`.
"""

import math
from collections.abc import Mapping

import torch
from torch import nn

from bridges.recognition.config import TrainingConfig
from bridges.recognition.task_settings import UNCERTAINTY
from bridges.recognition.tasks import TaskOutput, TrainingTask

_LEARNED = "log_variance"


def weigh_tasks(tasks: Mapping[str, TrainingTask], config: TrainingConfig) -> None:
    """Gives fresh tasks the factors of the settings; a task without one keeps its own.

    With ``task_weighting="uncertainty"`` a task whose factor is not 0 gets a parameter,
    ``log_variance``, which is saved and optimised with it.
    """
    for name, factor in config.task_weights:
        tasks[name].loss_weight = factor
    if config.task_weighting == UNCERTAINTY:
        for task in tasks.values():
            if task.loss_weight > 0:
                start = torch.tensor(-math.log(task.loss_weight))
                task.register_parameter(_LEARNED, nn.Parameter(start))


def total_loss(
    tasks: Mapping[str, TrainingTask], outputs: Mapping[str, TaskOutput]
) -> torch.Tensor:
    """The weighted sum over the tasks.

    A task whose factor is 0 has no part in it: its head gets no gradient, not even one
    of zeros, and so stays as it was drawn, without weight decay.

    Args:
      tasks: by name, with factors.
      outputs: of each of them, for one batch.
    """
    return sum(
        _weighted(tasks[name], out)
        for name, out in outputs.items()
        if tasks[name].loss_weight
    )


def _weighted(task: TrainingTask, out: TaskOutput) -> torch.Tensor:
    log_variance = getattr(task, _LEARNED, None)
    if log_variance is None:
        return task.loss_weight * out.loss
    weighted = (-log_variance).exp() * out.loss + log_variance / 2
    # A batch without labels says nothing of the noise either.
    return weighted if out.labelled is None else weighted * out.labelled
