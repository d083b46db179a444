"""The identity-conditioned latent diffusion model: its network, loss and sampler."""

import dataclasses

import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    UNet2DConditionModel,
)
from torch import nn

from bridges.generation.identity_conditioning import IdentityConditioning
from hyperface_jax import InputError

# Part of what the settings of a dataset say: to be raised when the same weights, seed
# and settings give other images.
SAMPLER_VERSION = 3
# The noise schedule is part of what the weights mean, so it is no setting.
_NOISE_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
}


@dataclasses.dataclass(frozen=True)
class DiffusionConfig:
    """The shape of a denoiser.

    Attributes:
      latent_channels: channels of a latent.
      latent_size: height and width of a latent.
      embedding_size: length of an identity embedding.
      channels: channels per resolution, from fine to coarse.
      layers: residual blocks per resolution.
      heads: attention heads.
      tokens: cross-attention tokens an embedding becomes.
      token_size: length of a token.
      norm_groups: groups of each GroupNorm.
    """

    latent_channels: int = 16
    latent_size: int = 8
    embedding_size: int = 512
    channels: tuple[int, ...] = (96, 160)
    layers: int = 1
    heads: int = 4
    tokens: int = 4
    token_size: int = 128
    norm_groups: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        for width in self.channels:
            if width % self.norm_groups or width % self.heads:
                raise InputError(
                    f"channels {width} can't be divided by norm_groups "
                    f"{self.norm_groups} and heads {self.heads}"
                )


class IdentityDenoiser(nn.Module):
    """Predicts v from noisy latents, a time and an identity."""

    def __init__(self, config: DiffusionConfig) -> None:
        super().__init__()
        self.config = config
        stages = len(config.channels)
        self.conditioning = IdentityConditioning(
            config.embedding_size, config.tokens, config.token_size
        )
        self.unet = UNet2DConditionModel(
            sample_size=config.latent_size,
            in_channels=config.latent_channels,
            out_channels=config.latent_channels,
            block_out_channels=config.channels,
            layers_per_block=config.layers,
            down_block_types=("CrossAttnDownBlock2D",) * stages,
            up_block_types=("CrossAttnUpBlock2D",) * stages,
            cross_attention_dim=config.token_size,
            # diffusers' name for the number of heads.
            attention_head_dim=config.heads,
            norm_num_groups=config.norm_groups,
            class_embed_type="simple_projection",
            projection_class_embeddings_input_dim=config.embedding_size,
            resnet_time_scale_shift="scale_shift",
        )

    def forward(
        self, latents: torch.Tensor, times: torch.Tensor, embeddings: torch.Tensor
    ) -> torch.Tensor:
        """Predicts v.

        Args:
          latents: ``[n, c, h, w]`` noisy standardised latents.
          times: ``[n]`` or scalar, 0 (clean) … 999 (noise).
          embeddings: ``[n, d]``: unit rows, or zero for no condition.

        Returns:
          ``[n, c, h, w]``.
        """
        tokens, scaled = self.conditioning(embeddings)
        latents = latents.contiguous(memory_format=torch.channels_last)
        return self.unet(
            latents, times, encoder_hidden_states=tokens, class_labels=scaled
        ).sample


def alphas_cumprod() -> torch.Tensor:
    """The share of signal power at each of the 1000 times, ``[1000]``."""
    return DDPMScheduler(**_NOISE_SCHEDULE).alphas_cumprod


def diffusion_loss(
    denoiser: nn.Module,
    latents: torch.Tensor,
    embeddings: torch.Tensor,
    signal_power: torch.Tensor,
    *,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Denoising loss in v-prediction with min-SNR weights (γ = 5).

    With ``z_t = √a z + √(1-a) ε`` the target is ``v = √a ε - √(1-a) z``, and a squared
    error in v weighs ``min(snr, γ)/(snr + 1)``. Times are stratified over the batch,
    which takes noise out of the gradient.

    Args:
      denoiser: maps ``(z_t, t, embeddings)`` to v.
      latents: ``[n, c, h, w]`` standardised latents z.
      embeddings: ``[n, d]`` conditions.
      signal_power: :func:`alphas_cumprod`.
      generator: source of times and noise.

    References:
      Salimans and Ho, `Progressive Distillation for Fast Sampling of Diffusion Models
      <https://arxiv.org/abs/2202.00512>`_, 2022; Hang et al., `Efficient Diffusion
      Training via Min-SNR Weighting Strategy <https://arxiv.org/abs/2303.09556>`_,
      2023.
    """
    count = len(latents)
    strata = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    times = (strata * len(signal_power)).long().clamp(max=len(signal_power) - 1)
    power = signal_power[times].view(-1, 1, 1, 1)
    noise = torch.randn(latents.shape, generator=generator)
    noisy = power.sqrt() * latents + (1 - power).sqrt() * noise
    target = power.sqrt() * noise - (1 - power).sqrt() * latents
    errors = (denoiser(noisy, times, embeddings) - target).square().mean((1, 2, 3))
    snr = (power / (1 - power)).flatten()
    return (errors * snr.clamp(max=5.0) / (snr + 1)).mean()


def guidance_schedule(guidance: float, steps: int) -> list[float]:
    """The guidance of each solver step: ``1/g`` in the first two fifths, then ``g``.

    The first steps, out of pure noise, settle pose and light. Guided there, images of a
    person grow alike without growing more recognisable; pulled less than not at all,
    they stay varied, and the later steps can be guided the more.

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
      noise: ``[n, c, h, w]`` standard normal, the only randomness.
      guidance: g ≥ 0 of the later steps.
      steps: solver steps, at least 1.

    Returns:
      ``[n, c, h, w]`` standardised latents.
    """
    solver = DPMSolverMultistepScheduler(
        **_NOISE_SCHEDULE,
        algorithm_type="dpmsolver++",
        solver_order=2,
        timestep_spacing="trailing",
    )
    solver.set_timesteps(steps)
    latents = noise
    both = torch.cat([embeddings, torch.zeros_like(embeddings)])
    schedule = guidance_schedule(guidance, steps)
    for time, weight in zip(solver.timesteps, schedule, strict=True):
        if weight == 1:
            prediction = denoiser(latents, time, embeddings)
        else:
            conditioned, unconditioned = denoiser(
                torch.cat([latents, latents]), time, both
            ).chunk(2)
            prediction = unconditioned + weight * (conditioned - unconditioned)
        latents = solver.step(prediction, time, latents).prev_sample
    return latents
