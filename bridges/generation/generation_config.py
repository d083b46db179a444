"""Settings of generated datasets, checked; loads no network."""

import dataclasses

from bridges.settings_checks import check_settings
from hyperface_jax import checks

DEFAULT_GENERATOR = "latent_diffusion"
DEFAULT_GUIDANCE = 5.0
DEFAULT_STEPS = 10
_RANGES = {
    "images_per_identity": (1, 10**6),
    "beta": (0, 1),
    "guidance": (0, 20),
    "steps": (1, 1000),
    "seed": (0, 2**63 - 1),
    "num_processes": (1, 10**4),
}


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
    """Settings of a generated dataset.

    Attributes:
      generator: ``"embedded"`` for the one that ships, or the folder of another.
      recogniser: name or folder of the recogniser the references live in; it measures
        ``reference_cosine``.
      images_per_identity: images of each reference.
      beta: β of Algorithm 3, the intra-class noise on the embedding.
      guidance: how much the identity is exaggerated, see
        :class:`bridges.generation.generator.Generator`.
      steps: solver steps an image.
      seed: seed of the dataset.
      num_processes: single-threaded processes; None for one a core. Does not change
        the images.
    """

    generator: str = "embedded"
    recogniser: str = "recogniser_f"
    images_per_identity: int = 64
    beta: float = 0.01
    guidance: float = DEFAULT_GUIDANCE
    steps: int = DEFAULT_STEPS
    seed: int = 0
    num_processes: int | None = None

    def __post_init__(self) -> None:
        check_settings(self, _RANGES)


def check_sampling(guidance: float, steps: int) -> None:
    """Raises InputError for a guidance or a number of steps that can't be meant."""
    checks.in_range(guidance, "guidance", *_RANGES["guidance"])
    checks.whole_number(steps, "steps", *_RANGES["steps"])
