"""How far a training is, and the history of its losses and metrics."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch

from bridges.recognition.config import TrainingConfig
from bridges.recognition.steps import ALONE, StepOutput, num_steps
from bridges.recognition.tasks import IDENTITY
from bridges.training.data_parallel import Workers

DIAGNOSTICS = ("gradient_norm", "mean_cosine")


@dataclasses.dataclass
class TrainingCounts:
    """How far a training is; JSON-ready, saved with every checkpoint.

    Attributes:
      step: steps done.
      seconds: time spent, over all runs.
      sums: loss and metrics, summed over the steps of this epoch.
      missing: how many of these steps said nothing of a metric, where some did.
      history: a row for each epoch: epoch, step, the means, seconds.
      waited: of the seconds, those in which steps waited for images.
      skipped: images that could not be read when a step needed them: path to reason.
    """

    step: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    missing: dict[str, int] = dataclasses.field(default_factory=dict)
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    waited: float = 0.0
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> "TrainingCounts":
        """What a checkpoint holds, also one written when there was only one task."""
        saved = dict(saved)
        if "correct" in saved:
            loss, correct = saved.pop("loss"), saved.pop("correct")
            saved["sums"] = {"loss": loss, "accuracy": correct}
        return cls(**saved)

    def add(
        self, values: dict[str, float], epoch_size: int, config: TrainingConfig
    ) -> None:
        """Counts a step, and at the end of an epoch writes a row of the history.

        Args:
          values: what :func:`scalars_of` named; a metric that is NaN does not count,
            nor do the diagnostics.
          epoch_size: images of an epoch.
          config: the settings.
        """
        epoch = self.step * config.batch_size // epoch_size
        self.step += 1
        for name, value in values.items():
            if name in DIAGNOSTICS:
                continue
            if math.isnan(value):
                self.missing[name] = self.missing.get(name, 0) + 1
            else:
                self.sums[name] = self.sums.get(name, 0.0) + value
        if ends_epoch(self.step, epoch_size, config):
            before = self.history[-1]["step"] if self.history else 0
            steps = self.step - before
            means = {
                name: total / (steps - self.missing.get(name, 0))
                for name, total in self.sums.items()
            }
            self.history.append(
                {
                    "epoch": epoch + 1,
                    "step": self.step,
                    **means,
                    "seconds": round(self.seconds, 1),
                }
            )
            self.sums, self.missing = {}, {}


def ends_epoch(step: int, epoch_size: int, config: TrainingConfig) -> bool:
    """Whether an epoch, or the training, ends with the step number ``step``, from 1."""
    # In whole numbers: a quotient of floats may be just below one.
    before = (step - 1) * config.batch_size // epoch_size
    ended = step * config.batch_size // epoch_size > before
    return ended or step == num_steps(epoch_size, config)


def scalars_of(out: StepOutput) -> dict[str, torch.Tensor]:
    """Losses and metrics of a step by the names they have in the history.

    ``"loss"`` is the sum over the tasks. Metrics of the identity task have bare names,
    those of others their task's name before them. With several tasks there is the loss
    of each, without its weight. Last come the :data:`DIAGNOSTICS`.
    """
    scalars = {"loss": out.loss}
    for name, task in out.tasks.items():
        if len(out.tasks) > 1:
            scalars[loss_name(name, len(out.tasks))] = task.loss.detach()
        prefix = "" if name == IDENTITY else f"{name}."
        scalars |= {prefix + key: value.detach() for key, value in task.metrics.items()}
    return scalars | out.diagnostics


def loss_name(task: str, num_tasks: int) -> str:
    """What the history calls a task's loss."""
    return "loss" if num_tasks == 1 else f"{task}.loss"


def fetch(
    steps: Sequence[dict[str, torch.Tensor]], workers: Workers = ALONE
) -> list[dict[str, float]]:
    """The numbers of several steps, copied from the device at once.

    Means over the processes. A loss is NaN where it is so in one of them; a metric
    where no image of any of them says anything.

    Args:
      steps: of each step, this process's scalars by name.
      workers: over whose processes means are taken.
    """
    table = torch.stack([torch.stack([*step.values()]).float() for step in steps])
    if workers.count > 1:
        known = ~table.isnan()
        both = torch.stack([table.where(known, 0.0), known.float()])
        total, share = workers.average(both)
        # 0 / 0 where nobody knows.
        means = total / share
        complete = torch.tensor([_is_loss(name) for name in steps[0]])
        missing = complete.to(table.device) & (share < 1)
        table = means.masked_fill(missing, math.nan)
    return [
        dict(zip(step, row, strict=True))
        for step, row in zip(steps, table.tolist(), strict=True)
    ]


def _is_loss(name: str) -> bool:
    return name == "loss" or name.endswith(".loss")
