"""Settings of Arc2Face and where its files are; loads no torch."""

import dataclasses

from bridges.settings_checks import check_settings
from hyperface_jax import InputError, checks

_RANGES = {"guidance": (1, 20), "steps": (1, 1000)}
# What a consistency model is made for: its authors sample in 2 to 8 steps, without
# guidance or nearly so.
_LCM_STEPS, _LCM_GUIDANCE = 8, 2


@dataclasses.dataclass(frozen=True)
class Arc2FaceSettings:
    """How latents are sampled.

    The steps and the guidance of ``lcm`` are not chosen silently: who asks for it names
    them, so that a record of the settings means the same wherever they are read.

    Attributes:
      guidance: how much the identity is exaggerated, 1 … 20; 1 is not at all, and
        takes half the time.
      steps: solver steps per image, 1 … 1000; 1 … 8 with ``lcm``.
      lcm: sample as a latent consistency model, with the LoRA that the generator was
        loaded with.
    """

    guidance: float = dataclasses.field(
        default=3.0,
        metadata={
            "help": "how much the identity is exaggerated: 1 not at all; more gives "
            "images of a person that look more alike"
        },
    )
    steps: int = dataclasses.field(
        default=25, metadata={"help": "steps of the diffusion solver"}
    )
    lcm: bool = dataclasses.field(
        default=False,
        metadata={
            "help": "sample as a latent consistency model: with --lcm_lora, --steps=4 "
            "and --guidance=1"
        },
    )

    def __post_init__(self) -> None:
        checks.instance_of(self.lcm, "lcm", bool)
        check_settings(self, _RANGES)
        if self.lcm and (self.steps > _LCM_STEPS or self.guidance > _LCM_GUIDANCE):
            raise InputError(
                f"lcm takes 1 to {_LCM_STEPS} steps and a guidance of 1 to "
                f"{_LCM_GUIDANCE}, got {self.steps} and {self.guidance:g}; give "
                "--steps=4 --guidance=1"
            )


@dataclasses.dataclass(frozen=True)
class Arc2FacePaths:
    """Where the files are, as :mod:`bridges.generators.arc2face.files` lists them.

    Attributes:
      models: folder of Arc2Face's own files.
      base: folder of Stable Diffusion 1.5, of which the VAE and the scheduler are used.
      control: folder of conditioning images for the ControlNet in ``models``, of which
        each seed chooses one; ``""`` for none.
      lcm_lora: file of the LCM-LoRA for Stable Diffusion 1.5, or its folder; only for
        sampling with ``lcm``.
    """

    models: str = dataclasses.field(
        default="",
        metadata={"help": "folder of the files of FoivosPar/Arc2Face"},
    )
    base: str = dataclasses.field(
        default="",
        metadata={
            "help": "folder of stable-diffusion-v1-5, of which vae/ and scheduler/ are "
            "used"
        },
    )
    control: str = dataclasses.field(
        default="",
        metadata={
            "help": "folder of images for Arc2Face's ControlNet, normals of faces in "
            "the poses wanted; each seed chooses one"
        },
    )
    lcm_lora: str = dataclasses.field(
        default="",
        metadata={
            "help": "file of latent-consistency/lcm-lora-sdv1-5, or its folder; for "
            "--lcm"
        },
    )
