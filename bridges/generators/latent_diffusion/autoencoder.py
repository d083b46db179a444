"""The face autoencoder: images to small latents and back, the space of the diffusion.

A diffusers ``AutoencoderKL`` works on 4 × 4 pixel blocks (space to depth), where
convolutions are cheap on a CPU. What it decodes is refined at half the resolution,
which takes away the seams between blocks. It learns what a linear code misses: each
8 × 8 patch is also coded by its principal components, so that training starts from a
recognisable image instead of from noise, and minutes on a CPU suffice.
"""

import dataclasses
import hashlib
import math
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import nn
from torch.nn import functional

from hyperface_jax import InputError

_BLOCK = 4
_DECIDE_LATENTS = ("kl.encoder", "kl.quant_conv", "patch_encoder", "latent_")
# A standard deviation of 0.05 on latents of unit variance.
FIRST_LOG_VARIANCE = -6.0


@dataclasses.dataclass(frozen=True)
class AutoencoderConfig:
    """The shape of an autoencoder.

    Attributes:
      image_size: height and width of an image in pixels, a multiple of 8.
      channels: channels at a quarter and at an eighth of the resolution.
      latent_channels: channels of a latent; its height and width are
        ``image_size / 8``.
      refinement_channels: channels of the refinement at half the resolution.
      norm_groups: groups of each GroupNorm.
    """

    image_size: int = 64
    channels: tuple[int, ...] = (64, 128)
    latent_channels: int = 16
    refinement_channels: int = 24
    norm_groups: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        if self.image_size % self.downsampling:
            raise InputError(
                f"image_size {self.image_size} is not a multiple of {self.downsampling}"
            )

    @property
    def downsampling(self) -> int:
        """How many pixels wide one latent position is."""
        return _BLOCK * 2 ** (len(self.channels) - 1)

    @property
    def latent_size(self) -> int:
        """Height and width of a latent."""
        return self.image_size // self.downsampling


class FaceAutoencoder(nn.Module):
    """Encodes images ``[n, 3, s, s]`` in [-1, 1] to latents ``[n, c, s/8, s/8]``.

    Latents handed out by :meth:`encode` and taken by :meth:`decode` are standardised:
    zero mean per channel and unit variance in all over the training images, which is
    what a diffusion model expects; see :meth:`standardise`.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        stages = len(config.channels)
        refined = config.refinement_channels
        self.kl = AutoencoderKL(
            in_channels=3 * _BLOCK**2,
            out_channels=4 * refined,
            down_block_types=("DownEncoderBlock2D",) * stages,
            up_block_types=("UpDecoderBlock2D",) * stages,
            block_out_channels=config.channels,
            layers_per_block=1,
            latent_channels=config.latent_channels,
            norm_num_groups=config.norm_groups,
            sample_size=config.image_size // _BLOCK,
            mid_block_add_attention=False,
        )
        self.refinement = nn.Sequential(
            nn.Conv2d(refined, 2 * refined, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * refined, 12, 3, padding=1),
        )
        patch = 3 * config.downsampling**2
        self.patch_encoder = nn.Conv2d(patch, config.latent_channels, 1)
        self.patch_decoder = nn.Conv2d(config.latent_channels, patch, 1)
        shape = (1, config.latent_channels, 1, 1)
        self.register_buffer("latent_mean", torch.zeros(shape))
        self.register_buffer("latent_std", torch.ones(shape))

    def distribution(self, images: torch.Tensor) -> Any:
        """The diagonal Gaussian of raw latents of ``images`` (diffusers' class)."""
        blocks = functional.pixel_unshuffle(images, _BLOCK)
        blocks = blocks.contiguous(memory_format=torch.channels_last)
        # In float32, of whatever precision the convolutions are.
        learnt = self.kl.encode(blocks).latent_dist.parameters.float()
        mean, log_variance = learnt.chunk(2, dim=1)
        patches = functional.pixel_unshuffle(images, self.config.downsampling)
        mean = mean + self.patch_encoder(patches).float()
        return DiagonalGaussianDistribution(torch.cat([mean, log_variance], dim=1))

    def decode_raw(self, latents: torch.Tensor) -> torch.Tensor:
        """Images of raw, not standardised latents; they may leave [-1, 1] a little."""
        latents = latents.contiguous(memory_format=torch.channels_last)
        halves = functional.pixel_shuffle(self.kl.decode(latents).sample, 2)
        learnt = functional.pixel_shuffle(self.refinement(halves), 2)
        patches = functional.pixel_shuffle(
            self.patch_decoder(latents), self.config.downsampling
        )
        # In half precision the sum would lose grey levels.
        return learnt.float() + patches.float()

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Standardised latents of ``images``: the mode of their distribution."""
        return (self.distribution(images).mode() - self.latent_mean) / self.latent_std

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Images of standardised latents."""
        return self.decode_raw(latents * self.latent_std + self.latent_mean)

    def decoder_parameters(self) -> list[nn.Parameter]:
        """What can be trained further without changing the latents."""
        parts = (
            self.kl.decoder,
            self.kl.post_quant_conv,
            self.refinement,
            self.patch_decoder,
        )
        return [parameter for part in parts for parameter in part.parameters()]

    @torch.no_grad()
    def start_from_principal_components(self, images: torch.Tensor) -> None:
        """Sets a new autoencoder to the best linear code of patches, with little noise.

        Each principal component becomes one latent channel of unit variance, and the
        learnt parts begin by adding nothing.

        Args:
          images: ``[n, 3, s, s]`` in [-1, 1]; some thousand are enough.
        """
        patches = to_patches(images, self.config.downsampling)
        mean = patches.mean(0)
        variances, axes = torch.linalg.eigh(torch.cov(patches.T))
        count = self.config.latent_channels
        scales, axes = variances[-count:].clamp(min=1e-8).sqrt(), axes[:, -count:]
        encode = (axes / scales).T
        self.patch_encoder.weight.copy_(encode[..., None, None])
        self.patch_encoder.bias.copy_(-encode @ mean)
        self.patch_decoder.weight.copy_((axes * scales)[..., None, None])
        self.patch_decoder.bias.copy_(mean)
        for layer in (self.kl.quant_conv, self.refinement[-1]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.kl.quant_conv.bias[count:] = FIRST_LOG_VARIANCE

    @torch.no_grad()
    def standardise(self, means: torch.Tensor, deviations: torch.Tensor) -> None:
        """Sets the scaling of latents from those of training images.

        A channel's variance becomes proportional to how precisely it is coded, the
        ratio of its spread over images to its spread for one image, and the mean
        variance 1. Brightness of a patch is coded 30 times as precisely as its texture:
        with equal variances, errors of the diffusion that do no harm in texture would
        show as seams between patches; with variances as in the image, texture would
        come last and blurred.

        Args:
          means: ``[n, c, h, w]`` raw latents.
          deviations: their standard deviations, of the same shape.
        """
        axes = (0, 2, 3)
        spread = means.std(axes, keepdim=True)
        variance = spread / deviations.mean(axes, keepdim=True)
        self.latent_mean.copy_(means.mean(axes, keepdim=True))
        self.latent_std.copy_(spread / (variance / variance.mean()).sqrt())

    def latents_digest(self) -> str:
        """SHA-256 of everything the latents depend on.

        Autoencoders of one digest differ in their decoders only, and share a diffusion
        model.
        """
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            if name.startswith(_DECIDE_LATENTS):
                digest.update(
                    name.encode() + value.contiguous().cpu().numpy().tobytes()
                )
        return digest.hexdigest()


def to_patches(images: torch.Tensor, size: int) -> torch.Tensor:
    """``[n, 3, s, s]`` to rows ``[n · (s/size)², 3 · size²]``, a patch each."""
    return functional.pixel_unshuffle(images, size).movedim(1, -1).flatten(0, -2)


def psnr(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB, per image, of images in [-1, 1]."""
    error = (first.clamp(-1, 1) - second).square().mean((1, 2, 3))
    return 10 * torch.log10(4 / error)


def latent_dimensions(config: AutoencoderConfig) -> int:
    """How many numbers a latent has."""
    return config.latent_channels * math.prod((config.latent_size,) * 2)
