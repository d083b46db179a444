"""The denoiser of the latent diffusion model: a UNet steered by an identity."""

import dataclasses

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from bridges.generators.latent_diffusion.identity_conditioning import (
    IdentityConditioning,
)
from hyperface_jax import InputError


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
