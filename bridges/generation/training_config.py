"""What the settings of a generator's two trainings have in common."""

import dataclasses
from typing import Any

from hyperface_jax import InputError

# For --help, by field.
DESCRIPTIONS = {
    "minutes": "time budget",
    "num_processes": "single-threaded processes that share a batch",
    "batch_size": "images per step over all processes",
    "learning_rate": "highest learning rate",
    "seed": "seed of weights, batches and noise",
}


@dataclasses.dataclass(frozen=True)
class TimedTrainingConfig:
    """Settings of a training that is bounded by time.

    Attributes:
      minutes: time budget, from the first step on.
      num_processes: single-threaded processes that share a batch.
      batch_size: images per step over all processes.
      learning_rate: its peak.
      seed: of weights, batches and noise.
    """

    minutes: float
    num_processes: int
    batch_size: int
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.minutes > 0:
            raise InputError(f"minutes {self.minutes} is not positive")
        if self.num_processes < 1 or self.batch_size % self.num_processes:
            raise InputError(
                f"batch_size {self.batch_size} can't be shared by "
                f"num_processes {self.num_processes}"
            )

    @property
    def own_batch_size(self) -> int:
        """Images per step of one process."""
        return self.batch_size // self.num_processes

    def model_settings(self) -> dict[str, Any]:
        """All settings but for how long and on how many cores."""
        settings = dataclasses.asdict(self)
        for name in ("minutes", "num_processes"):
            del settings[name]
        return settings
