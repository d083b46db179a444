"""The loss that the denoiser is trained with."""

import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch import nn

_GAMMA = 5.0


def diffusion_loss(
    denoiser: nn.Module,
    latents: torch.Tensor,
    embeddings: torch.Tensor,
    schedule: DDPMScheduler,
    *,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Denoising loss in v-prediction with min-SNR weights (γ = 5).

    With ``z_t = √a z + √(1-a) ε`` the target is ``v = √a ε - √(1-a) z``, and a squared
    error in v weighs ``min(snr, γ)/(snr + 1)``. Times are stratified over the batch,
    which takes noise out of the gradient. Times and noise are drawn on the CPU, so that
    every device is given the same numbers.

    Args:
      denoiser: maps ``(z_t, t, embeddings)`` to v.
      latents: ``[n, c, h, w]`` standardised latents z.
      embeddings: ``[n, d]`` conditions, on the device of the latents.
      schedule: see :func:`noise_schedule.noise_schedule`.
      generator: source of times and noise, on the CPU.

    Returns:
      A scalar.

    References:
      Salimans and Ho, `Progressive Distillation for Fast Sampling of Diffusion Models
      <https://arxiv.org/abs/2202.00512>`_, 2022; Hang et al., `Efficient Diffusion
      Training via Min-SNR Weighting Strategy <https://arxiv.org/abs/2303.09556>`_,
      2023.
    """
    count, last = len(latents), schedule.config.num_train_timesteps - 1
    strata = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    times = (strata * (last + 1)).long().clamp(max=last).to(latents.device)
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    noisy = schedule.add_noise(latents, noise, times)
    target = schedule.get_velocity(latents, noise, times)
    # In float32 whatever the denoiser computes in.
    predicted = denoiser(noisy, times, embeddings).float()
    errors = (predicted - target).square().mean((1, 2, 3))
    snr = compute_snr(schedule, times)
    return (errors * snr.clamp(max=_GAMMA) / (snr + 1)).mean()
