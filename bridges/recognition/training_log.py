"""The log of a training: lines of JSON, and TensorBoard's files."""

import json
import math
import os
import pathlib
from typing import Any

from hyperface_jax import InputError, files

LOG = "log.jsonl"
# Steps between two lines.
_EVERY = 50


class TrainingLog:
    """Writes what there is to say of a step; nothing is said twice after a resumption.

    A value that is not finite, such as a metric of which a step says nothing, is null.
    Lines have ``step`` (done so far), ``epoch`` (a fraction), losses and metrics by the
    names of the history, ``gradient_norm``, ``mean_cosine``, ``learning_rate``,
    ``images_per_second`` and ``waiting``, the share of the time in which steps waited
    for images.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        step: int,
        tensorboard: str | os.PathLike[str] | None = None,
    ) -> None:
        """Opens the log, and drops what was written after the step it goes on from.

        Args:
          folder: of the training; :data:`LOG` goes inside.
          step: steps done.
          tensorboard: folder for TensorBoard's files, or None.

        Raises:
          InputError: TensorBoard is asked for, but not installed.
        """
        self._path = pathlib.Path(folder) / LOG
        self._board = _board(tensorboard, step) if tensorboard else None
        self._written = step
        if self._path.exists():
            kept = [line for line in _lines(self._path) if line["step"] <= step]
            text = "".join(json.dumps(line) + "\n" for line in kept)
            files.write_text(self._path, text)

    def is_due(self, step: int, ends_epoch: bool) -> bool:
        """Whether a line is to be written after the step number ``step``, from 1.

        On an accelerator not every step can be asked for.
        """
        return ends_epoch or step // _EVERY > self._written // _EVERY

    def write(self, values: dict[str, Any]) -> None:
        """Writes a line.

        Args:
          values: numbers; ``step`` among them.
        """
        self._written = values["step"]
        values = {
            name: value if math.isfinite(value) else None
            for name, value in values.items()
        }
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
        if self._board is not None:
            for name, value in values.items():
                if name != "step" and value is not None:
                    self._board.add_scalar(name, value, values["step"])
            self._board.flush()


def _lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The whole lines of a log; a kill may have cut the last one."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return [line for line in found if isinstance(line, dict) and "step" in line]


def _board(folder: str | os.PathLike[str], step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            f"{os.fspath(folder)}: TensorBoard is not installed; pip install "
            "tensorboard, or leave --tensorboard out"
        ) from None
    return SummaryWriter(os.fspath(folder), purge_step=step + 1)
