"""Sampling of latents: DPM-Solver++, or a latent consistency model in a few steps."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    LCMScheduler,
    UNet2DConditionModel,
)

from bridges.generators.arc2face.control import Residuals, nothing_added
from bridges.generators.arc2face.networks import quiet
from bridges.generators.arc2face.settings import Arc2FaceSettings

# To be raised when the same weights, seeds and settings give other images.
SAMPLER_VERSION = 1


def build_solver(
    schedule: dict[str, Any], settings: Arc2FaceSettings
) -> DPMSolverMultistepScheduler | LCMScheduler:
    """The solver of the settings, at its first step.

    Its steps stay on the CPU, where it finds them without waiting for a device.

    Args:
      schedule: of noise, as in the published ``scheduler_config.json``.
      settings: steps and solver.
    """
    kind = LCMScheduler if settings.lcm else DPMSolverMultistepScheduler
    with quiet():
        solver = kind.from_config(schedule)
        solver.set_timesteps(settings.steps)
    solver.set_begin_index(0)
    return solver


def sample_latents(
    unet: UNet2DConditionModel,
    schedule: dict[str, Any],
    prompts: torch.Tensor,
    unconditional: torch.Tensor,
    noise: torch.Tensor,
    sources: Sequence[torch.Generator],
    settings: Arc2FaceSettings,
    residuals: Residuals = nothing_added,
) -> torch.Tensor:
    """Denoises latents.

    The solver computes in float32 whatever the network computes in.

    Args:
      unet: the denoising network.
      schedule: of noise, as in the published ``scheduler_config.json``.
      prompts: ``[n, 77, d]`` on the network's device and in its type.
      unconditional: ``[77, d]``, what guidance leads away from.
      noise: ``[n, c, h, w]`` standard normal float32 on that device.
      sources: ``n`` of the CPU, for the noise that ``lcm`` adds in between.
      settings: guidance, steps and solver.
      residuals: what a ControlNet adds, guided and unguided alike.

    Returns:
      ``[n, c, h, w]`` float32.
    """
    solver = build_solver(schedule, settings)
    extra = {"generator": list(sources)} if settings.lcm else {}
    guided = settings.guidance > 1
    if guided:
        # One pass for both, the unguided half first.
        prompts = torch.cat([unconditional.expand_as(prompts), prompts])
    latents = noise * solver.init_noise_sigma
    for step in solver.timesteps:
        x = solver.scale_model_input(latents, step)
        x = (torch.cat([x, x]) if guided else x).to(prompts.dtype)
        change = unet(
            x,
            step,
            encoder_hidden_states=prompts,
            return_dict=False,
            **residuals(x, step, prompts),
        )[0].float()
        if guided:
            without, with_prompt = change.chunk(2)
            change = without + settings.guidance * (with_prompt - without)
        latents = solver.step(change, step, latents, return_dict=False, **extra)[0]
    return latents
