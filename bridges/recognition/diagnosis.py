"""Watches a training: stops where a loss is not finite, warns where nothing is learned.

Each message says what to change.
"""

import os
from collections.abc import Sequence
from math import isfinite

from bridges.recognition.config import TrainingConfig
from bridges.recognition.history import loss_name
from hyperface_jax import InputError
from hyperface_jax.commands import announce

# A mean cosine between features of a batch above which they are one direction.
_COLLAPSED = 0.95
# Steps in a row that have to show it, and the share of the training before which a
# growing margin may still explain an accuracy of chance.
_PATIENCE = 20
_EARLY = 1 / 3


class Watch:
    """Looks at the numbers of each step, in order."""

    def __init__(
        self,
        config: TrainingConfig,
        num_classes: int,
        output: str | os.PathLike[str],
        precision: str = "float32",
        tasks: Sequence[str] | None = None,
    ) -> None:
        """Begins to watch.

        Args:
          config: the settings.
          num_classes: identities trained on.
          output: the training's folder, for messages.
          precision: that the backbone computes in.
          tasks: whose losses there are, by default those of the settings.
        """
        self._config = config
        self._tasks = list(tasks or config.tasks)
        self._num_classes = num_classes
        self._output = os.fspath(output)
        self._precision = precision
        self._norm: float | None = None
        self._collapsed = self._by_chance = 0
        self._said: set[str] = set()

    def look(self, values: dict[str, float], step: int, progress: float) -> None:
        """Looks at a step.

        Args:
          values: by the names of :func:`bridges.recognition.history.scalars_of`.
          step: how many were done before.
          progress: fraction of the training that is done.

        Raises:
          InputError: a loss or the gradient is not finite: names the task, the step,
            the gradient's norm, and what likely was the cause.
        """
        for task in self._tasks:
            loss = values[loss_name(task, len(self._tasks))]
            if not isfinite(loss):
                raise InputError(
                    f"{self._output}: the loss of the task {task} is {loss} at step "
                    f"{step}{self._before()}; {self._remedy(step)}"
                )
        norm = values.get("gradient_norm", self._norm)
        # Of float16 such a step was not taken; else the weights are no numbers now.
        if norm is not None and self._precision != "float16" and not isfinite(norm):
            raise InputError(
                f"{self._output}: the norm of the gradient is {norm} at step {step}"
                f"{self._before()}; {self._remedy(step)}"
            )
        self._norm = norm
        self._look_for_collapse(values, step, progress)

    def _before(self) -> str:
        if self._norm is None:
            return ""
        return f" (norm of the gradient a step before: {self._norm:.3g})"

    def _remedy(self, step: int) -> str:
        if self._precision == "float16" and step > 0:
            why = "float16 overflows above 65,504: use bfloat16, or"
        elif step == 0:
            why = "at the first step that is a matter of the head's scale, or else"
        elif self._norm is not None and not self._norm <= 100:
            clip = self._config.gradient_clip
            limit = f"lower gradient_clip {clip:g}" if clip else "set gradient_clip=5"
            why = f"gradients grew: {limit}, or"
        else:
            why = "most likely the steps are too large:"
        return f"{why} train again into another folder with a lower learning_rate"

    def _look_for_collapse(
        self, values: dict[str, float], step: int, progress: float
    ) -> None:
        collapsed = values.get("mean_cosine", 0.0) > _COLLAPSED
        self._collapsed = self._collapsed + 1 if collapsed else 0
        if self._collapsed == _PATIENCE:
            self._say_once(
                "collapsed",
                f"{self._output}: by step {step} all images have nearly one embedding "
                f"(mean cosine {values['mean_cosine']:.3f}): the classes have "
                "collapsed; lower learning_rate, or let the margin grow with "
                "margin_warmup",
            )
        chance = values.get("accuracy", 1.0) <= 2 / self._num_classes
        late = progress > _EARLY and self._num_classes > 10
        self._by_chance = self._by_chance + 1 if chance and late else 0
        if self._by_chance == _PATIENCE:
            self._say_once(
                "by chance",
                f"{self._output}: at step {step}, after {100 * progress:.0f} % of the "
                f"training, hardly an image of {self._num_classes:,} people is nearest "
                "to its own: nothing is learned; lower the head's margin or "
                "learning_rate, or raise margin_warmup",
            )

    def _say_once(self, what: str, line: str) -> None:
        if what not in self._said:
            self._said.add(what)
            announce(line)
