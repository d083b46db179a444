"""Gives trained models more latent channels without losing what they know.

A wider autoencoder keeps the latents it had and adds the best linear code of what they
miss; a wider denoiser predicts nothing in the new channels at first. Training both
further is far cheaper than starting over.
"""

import torch
from torch import nn

from bridges.generators.latent_diffusion.autoencoder import (
    FIRST_LOG_VARIANCE,
    FaceAutoencoder,
    to_patches,
)


@torch.no_grad()
def copy_into_wider(narrow: nn.Module, wide: nn.Module) -> None:
    """Copies weights into a module that differs in its latent channels only.

    Channels keep their order and new ones follow. New entries of a tensor become zero,
    so the old channels are computed as before, whatever the new ones hold.

    Args:
      narrow: has ``config.latent_channels``.
      wide: the same with at least as many channels; changed in place.
    """
    count, wider = narrow.config.latent_channels, wide.config.latent_channels
    channels = torch.arange(count)
    # By the old and new size of an axis: latents, or means and then log-variances.
    kept = {
        (count, wider): channels,
        (2 * count, 2 * wider): torch.cat([channels, wider + channels]),
    }
    target = wide.state_dict()
    for name, value in narrow.state_dict().items():
        if value.shape == target[name].shape:
            target[name].copy_(value)
            continue
        sizes = zip(value.shape, target[name].shape, strict=True)
        places = [
            torch.arange(old) if old == new else kept[old, new] for old, new in sizes
        ]
        target[name].zero_()
        target[name][torch.meshgrid(*places, indexing="ij")] = value


@torch.no_grad()
def widen_autoencoder(
    narrow: FaceAutoencoder, wide: FaceAutoencoder, images: torch.Tensor
) -> None:
    """Makes ``wide`` code what ``narrow`` codes and, linearly, what that misses.

    The residual of each patch is regressed on the patch; the principal components of
    what the regression predicts become the new channels, of unit variance and little
    noise (reduced-rank regression: Izenman, J. Multivariate Analysis 5, 1975).

    Args:
      narrow: trained.
      wide: changed in place; more latent channels, else of the same shape.
      images: ``[n, 3, s, s]`` in [-1, 1]; some thousand are enough.
    """
    copy_into_wider(narrow, wide)
    first, last = narrow.config.latent_channels, wide.config.latent_channels
    added = torch.arange(first, last)
    wide.latent_std[:, added] = 1.0
    wide.kl.quant_conv.bias[last + added] = FIRST_LOG_VARIANCE
    wide.kl.post_quant_conv.weight[added, added] = 1.0
    # Not zero: the layer that follows is, and its gradient would vanish.
    for features in (slice(first, last), slice(last + first, 2 * last)):
        nn.init.kaiming_uniform_(wide.kl.encoder.conv_out.weight[features])

    residuals = torch.cat(
        [b - narrow.decode_raw(narrow.distribution(b).mode()) for b in images.split(64)]
    )
    patches = to_patches(images, narrow.config.downsampling)
    missed = to_patches(residuals, narrow.config.downsampling)
    centre, offset = patches.mean(0), missed.mean(0)
    encode, decode = _linear_code(patches - centre, missed - offset, last - first)
    wide.patch_encoder.weight[added] = encode[..., None, None]
    wide.patch_encoder.bias[added] = -encode @ centre
    wide.patch_decoder.weight[:, added] = decode[..., None, None]
    wide.patch_decoder.bias += offset


def _linear_code(
    inputs: torch.Tensor, targets: torch.Tensor, rank: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The code of ``inputs`` that predicts ``targets`` best, of unit variance.

    Args:
      inputs: ``[n, p]``, of mean zero.
      targets: ``[n, p]``, of mean zero.
      rank: how many numbers a code has.

    Returns:
      ``[rank, p]`` from an input to its code, ``[p, rank]`` from that to the target.
    """
    slopes = torch.linalg.lstsq(inputs, targets).solution
    variances, axes = torch.linalg.eigh(torch.cov((inputs @ slopes).T))
    # The largest first.
    axes = axes[:, -rank:].flip(1)
    scales = variances[-rank:].flip(0).clamp(min=1e-12).sqrt()
    return (slopes @ axes / scales).T, axes * scales
