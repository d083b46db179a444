"""Noise to latents: the solver of the diffusion, and how far identity steers it."""

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import nn

from bridges.generators.latent_diffusion.noise_schedule import NOISE_SCHEDULE

# Part of what the settings of a dataset say: to be raised when the same weights, seed
# and settings give other images.
SAMPLER_VERSION = 3


def guidance_schedule(guidance: float, steps: int) -> list[float]:
    """The guidance of each solver step: ``1/g`` in the first two fifths, then ``g``.

    The first steps, out of pure noise, settle pose and light. Guided there, images of a
    person grow alike without growing more recognisable. With less than no guidance they
    stay varied, and the later steps can be guided more strongly.

    Args:
      guidance: g ≥ 0; up to 1 it is the same at every step.
      steps: solver steps, at least 1.

    References:
      Kynkäänniemi et al., `Applying Guidance in a Limited Interval Improves Sample and
      Distribution Quality in Diffusion Models <https://arxiv.org/abs/2404.07724>`_,
      2024, who leave the first steps at 1.
    """
    early = 2 * steps // 5
    first = min(guidance, 1 / max(1.0, guidance))
    return [first] * early + [guidance] * (steps - early)


def build_solver(steps: int) -> DPMSolverMultistepScheduler:
    """DPM-Solver++ (2M), about to take the first of ``steps`` steps.

    Its times stay on the CPU, where the solver looks numbers up without making an
    accelerator wait.
    """
    solver = DPMSolverMultistepScheduler(
        **NOISE_SCHEDULE,
        algorithm_type="dpmsolver++",
        solver_order=2,
        timestep_spacing="trailing",
    )
    solver.set_timesteps(steps)
    solver.set_begin_index(0)
    return solver


@torch.no_grad()
def sample_latents(
    denoiser: nn.Module,
    embeddings: torch.Tensor,
    noise: torch.Tensor,
    *,
    guidance: float,
    steps: int,
) -> torch.Tensor:
    """Turns noise into latents of faces by DPM-Solver++ (2M) and guidance.

    Guidance extrapolates from the unconditional prediction: ``v₀ + g (v - v₀)``, by
    :func:`guidance_schedule`; 1 means none and costs half.

    Args:
      denoiser: maps ``(z_t, t, embeddings)`` to v.
      embeddings: ``[n, d]`` unit rows.
      noise: ``[n, c, h, w]`` standard normal, the only randomness; on the device of the
        embeddings and the denoiser.
      guidance: g ≥ 0 of the later steps.
      steps: solver steps, at least 1.

    Returns:
      ``[n, c, h, w]`` standardised latents.
    """
    solver = build_solver(steps)
    latents = noise
    both = torch.cat([embeddings, torch.zeros_like(embeddings)])
    schedule = guidance_schedule(guidance, steps)
    for time, weight in zip(solver.timesteps, schedule, strict=True):
        # Predictions of half precision are combined, and the noise removed, in float32.
        if weight == 1:
            prediction = denoiser(latents, time, embeddings).float()
        else:
            conditioned, unconditioned = (
                denoiser(torch.cat([latents, latents]), time, both).float().chunk(2)
            )
            prediction = unconditioned + weight * (conditioned - unconditioned)
        latents = solver.step(prediction, time, latents).prev_sample
    return latents
