"""Settings of generated datasets, checked; loads no network."""

import dataclasses
from typing import Any

from bridges.settings_checks import check_settings

_RANGES = {
    "images_per_identity": (1, 10**6),
    "beta": (0, 1),
    "seed": (0, 2**63 - 1),
    "num_processes": (1, 10**4),
    "batch_size": (1, 2**16),
}


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
    """Settings of a generated dataset.

    Attributes:
      generator: ``"embedded"`` for the one that ships, or what
        :func:`bridges.generators.generator.load_generator` takes.
      recogniser: name or folder of the recogniser the references live in; it measures
        ``reference_cosine``.
      images_per_identity: images of each reference.
      beta: β of Algorithm 3, the intra-class noise on the embedding.
      seed: seed of the dataset.
      num_processes: single-threaded processes; None for one per core. Does not change
        the images. An accelerator is used by one process.
      batch_size: images computed at once; None for 16 on the CPU and 128 on an
        accelerator. Another size may round differently, so it is recorded.
      settings: of the generator, of its ``settings_type``; None for its defaults.
    """

    generator: str = "embedded"
    recogniser: str = "recogniser_f"
    images_per_identity: int = 64
    beta: float = 0.01
    seed: int = 0
    num_processes: int | None = None
    batch_size: int | None = None
    settings: Any | None = None

    def __post_init__(self) -> None:
        check_settings(self, _RANGES)
