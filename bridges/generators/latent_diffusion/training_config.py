"""Settings of the two trainings of the model, checked; loads no torch."""

import dataclasses
from typing import Any

from bridges.settings_checks import check_settings
from hyperface_jax import InputError

PHASES = ("full", "decoder")
_RANGES = {
    "minutes": (1e-9, 1e7),
    "num_processes": (1, 10**4),
    "batch_size": (1, 2**20),
    "learning_rate": (1e-12, 1e3),
    "seed": (0, 2**32 - 1),
    "gradient_weight": (0, 1e6),
    "coarse_weight": (0, 1e6),
    "kl_weight": (0, 1e6),
    "feature_weight": (0, 1e6),
    "latent_noise": (0, 1e3),
    "drop_rate": (0, 1),
    "beta": (0, 1),
    "ema_decay": (0, 1),
}
# For --help, by field.
DESCRIPTIONS = {
    "minutes": "time budget",
    "num_processes": "single-threaded processes that share a batch; on GPUs, one for "
    "each at most",
    "batch_size": "images per step over all processes",
    "learning_rate": "highest learning rate",
    "seed": "seed of weights, batches and noise",
}


@dataclasses.dataclass(frozen=True)
class TimedTrainingConfig:
    """Settings of a training that is bounded by time.

    Attributes:
      minutes: time budget, from the first step on.
      num_processes: single-threaded processes that share a batch; on accelerators one
        for each at most.
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
        check_settings(self, _RANGES)
        if self.batch_size % self.num_processes:
            raise InputError(
                f"batch_size {self.batch_size} can't be shared by "
                f"num_processes {self.num_processes}"
            )

    def model_settings(self) -> dict[str, Any]:
        """All settings except for how long and on how many cores."""
        settings = dataclasses.asdict(self)
        for name in ("minutes", "num_processes"):
            del settings[name]
        return settings


@dataclasses.dataclass(frozen=True)
class AutoencoderTrainingConfig(TimedTrainingConfig):
    """Settings of a training run, beside those of every timed training.

    Attributes:
      phase: ``"full"``, or ``"decoder"`` to leave the latents as they are.
      gradient_weight: weight of the L1 distance between image gradients.
      coarse_weight: weight of the L1 distance at half and a quarter of the resolution.
      kl_weight: weight of the KL divergence to the standard normal, per dimension.
      feature_weight: weight of the distance between the recogniser's features.
      latent_noise: in the decoder phase, largest standard deviation of noise on the
        latents, since a diffusion model never hits them exactly.
    """

    minutes: float = 25.0
    num_processes: int = 1
    batch_size: int = 8
    phase: str = "full"
    gradient_weight: float = 0.5
    coarse_weight: float = 0.25
    kl_weight: float = 1e-3
    feature_weight: float = 0.2
    latent_noise: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.phase not in PHASES:
            raise InputError(f"phase {self.phase!r} is not one of {', '.join(PHASES)}")


@dataclasses.dataclass(frozen=True)
class DiffusionTrainingConfig(TimedTrainingConfig):
    """Settings of a training run, beside those of every timed training.

    Attributes:
      drop_rate: how often the condition is left out, for guidance.
      beta: how much conditions are perturbed; as much as when images will be made.
      ema_decay: decay of the exponential moving average of the weights, which is the
        result.
    """

    minutes: float = 40.0
    num_processes: int = 2
    batch_size: int = 64
    drop_rate: float = 0.1
    beta: float = 0.01
    ema_decay: float = 0.998
