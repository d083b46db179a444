"""Settings of the latent diffusion model's sampler, checked; loads no torch."""

import dataclasses

from bridges.settings_checks import check_settings

_RANGES = {"guidance": (0, 20), "steps": (1, 1000)}


@dataclasses.dataclass(frozen=True)
class LatentDiffusionSettings:
    """How latents are sampled.

    Attributes:
      guidance: how much the identity is exaggerated, 0 … 20; 1 is not at all, at 5
        images of a person look much alike.
      steps: solver steps per image, 1 … 1000.
    """

    guidance: float = dataclasses.field(
        default=5.0,
        metadata={
            "help": "how much the identity is exaggerated, after the first two fifths "
            "of the steps: 1 not at all; more gives images of a person that look more "
            "alike"
        },
    )
    steps: int = dataclasses.field(
        default=10, metadata={"help": "steps of the diffusion solver"}
    )

    def __post_init__(self) -> None:
        check_settings(self, _RANGES)
