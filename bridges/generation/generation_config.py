"""Settings of generated datasets, checked; loads no network."""

import dataclasses

from hyperface_jax import InputError

DEFAULT_GENERATOR = "latent_diffusion"
DEFAULT_GUIDANCE = 5.0
DEFAULT_STEPS = 10


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
        check_settings(self.guidance, self.steps)
        if self.images_per_identity < 1:
            raise InputError(
                f"images_per_identity {self.images_per_identity} is not at least 1"
            )
        if not 0 <= self.beta <= 1:
            raise InputError(f"beta {self.beta} is not in [0, 1]; 0.01 is usual")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed {self.seed} is not in [0, 2^63)")
        if self.num_processes is not None and self.num_processes < 1:
            raise InputError(f"num_processes {self.num_processes} is not at least 1")


def check_settings(guidance: float, steps: int) -> None:
    """Raises InputError for a guidance or a number of steps that can't be meant."""
    if not 0 <= guidance <= 20:
        raise InputError(f"guidance {guidance} is not in [0, 20]; 1 to 5 is usual")
    if not 1 <= steps <= 1000:
        raise InputError(f"steps {steps} is not in 1 … 1000; 10 is usual")
