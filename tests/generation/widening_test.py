"""Widening: what a model knew stays, what is new can be learnt."""

import dataclasses

import pytest
import torch

from bridges.generators.latent_diffusion.autoencoder import FaceAutoencoder, psnr
from bridges.generators.latent_diffusion.denoiser import IdentityDenoiser
from bridges.generators.latent_diffusion.widening import (
    copy_into_wider,
    widen_autoencoder,
)
from tests.generation import tiny_models

WIDE = dataclasses.replace(tiny_models.AUTOENCODER, latent_channels=7)


def smooth_images(count: int) -> torch.Tensor:
    """Random images ``[count, 3, 16, 16]`` that a linear code can partly keep."""
    coarse = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    images = torch.nn.functional.interpolate(coarse, size=16, mode="bilinear")
    return images.clamp(-1, 1)


@pytest.fixture(scope="module")
def narrow() -> FaceAutoencoder:
    torch.manual_seed(0)
    model = FaceAutoencoder(tiny_models.AUTOENCODER)
    model.start_from_principal_components(smooth_images(256))
    # As after training: nothing is zero, and latents have a scale of their own.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    return model


@torch.no_grad()
def test_old_latents_stay_and_the_residual_shrinks(narrow):
    wide = FaceAutoencoder(WIDE)
    widen_autoencoder(narrow, wide, smooth_images(256))
    images = smooth_images(300)[256:]
    before, after = narrow.distribution(images), wide.distribution(images)
    torch.testing.assert_close(after.mean[:, :4], before.mean)
    torch.testing.assert_close(after.logvar[:, :4], before.logvar)
    first = psnr(narrow.decode_raw(before.mode()), images).mean()
    second = psnr(wide.decode_raw(after.mode()), images).mean()
    assert second > first + 0.5, "dB"


@torch.no_grad()
def test_new_channels_are_the_best_linear_code_of_the_residual(narrow):
    """Against the least-squares optimum, the Eckart-Young truncation of its fit."""
    images = smooth_images(256)
    wide = FaceAutoencoder(WIDE)
    widen_autoencoder(narrow, wide, images)

    def patches(batch):
        rows = torch.nn.functional.pixel_unshuffle(batch, 8)
        return rows.permute(0, 2, 3, 1).reshape(-1, 192).double()

    decoded = narrow.decode_raw(narrow.distribution(images).mode())
    centred = patches(images) - patches(images).mean(0)
    missed = patches(images - decoded)
    missed = missed - missed.mean(0)
    fitted = centred @ torch.linalg.pinv(centred) @ missed
    u, s, v = torch.linalg.svd(fitted, full_matrices=False)
    optimum = (missed - u[:, :3] * s[:3] @ v[:3]).square().mean().item()
    left = patches(images - wide.decode_raw(wide.distribution(images).mode()))
    assert left.square().mean().item() == pytest.approx(optimum, rel=1e-2)


def test_new_channels_can_learn(narrow):
    wide = FaceAutoencoder(WIDE)
    widen_autoencoder(narrow, wide, smooth_images(64))
    latents = wide.distribution(smooth_images(4))
    wide.decode_raw(latents.mean).square().sum().backward()
    coded = wide.kl.quant_conv.weight.grad[4:7]
    assert (coded[:, 4:7] != 0).all(), "from features that are new"
    assert (coded[:, :4] != 0).all(), "from features there were"
    decoded = wide.kl.decoder.conv_in.weight.grad[:, 4:7]
    assert (decoded.flatten(2).norm(dim=2) > 0).all()


@torch.no_grad()
def test_a_wider_denoiser_predicts_the_same_whatever_is_new():
    torch.manual_seed(1)
    narrow = IdentityDenoiser(tiny_models.DENOISER)
    shape = dataclasses.replace(tiny_models.DENOISER, latent_channels=6)
    wide = IdentityDenoiser(shape)
    copy_into_wider(narrow, wide)
    latents = torch.randn(3, 6, 2, 2)
    rows = torch.nn.functional.normalize(torch.randn(3, tiny_models.EMBEDDING_SIZE))
    times = torch.tensor([0, 500, 999])
    predicted = wide(latents, times, rows)
    torch.testing.assert_close(predicted[:, :4], narrow(latents[:, :4], times, rows))
    assert (predicted[:, 4:] == 0).all()
