"""The autoencoder: its linear start, its scaling and its figures."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from bridges.generators.latent_diffusion.autoencoder import (
    AutoencoderConfig,
    FaceAutoencoder,
    psnr,
)
from hyperface_jax import InputError
from tests.generation import tiny_models


@pytest.fixture
def images():
    """``[64, 3, 16, 16]`` smooth random images in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(64, 3, 4, 4, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=16, mode="bilinear")


@pytest.fixture
def autoencoder(images):
    torch.manual_seed(0)
    autoencoder = FaceAutoencoder(tiny_models.AUTOENCODER).eval().requires_grad_(False)
    autoencoder.start_from_principal_components(images)
    return autoencoder


def test_shapes(autoencoder, images):
    latents = autoencoder.encode(images)
    assert latents.shape == (64, 4, 2, 2)
    assert autoencoder.decode(latents).shape == images.shape
    assert FaceAutoencoder(AutoencoderConfig()).config.latent_size == 8


def test_it_starts_as_the_best_linear_code_of_patches(autoencoder, images):
    """scikit-learn's PCA of the same 8 x 8 patches reconstructs the same images."""
    patches = images.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5)
    rows = patches.reshape(-1, 3 * 64).double().numpy()
    pca = PCA(4).fit(rows)
    expected = pca.inverse_transform(pca.transform(rows)).reshape(patches.shape)
    decoded = autoencoder.decode(autoencoder.encode(images))
    found = decoded.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_raw_latents_start_standardised(autoencoder, images):
    raw = autoencoder.distribution(images).mode()
    np.testing.assert_allclose(raw.mean((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(raw.var((0, 2, 3)), 1, rtol=1e-3)
    assert autoencoder.distribution(images).std.max() < 0.06


def test_standardise_changes_latents_but_not_images(autoencoder, images):
    autoencoder.patch_encoder.weight.mul_(3)
    autoencoder.patch_encoder.bias.add_(2)
    before = autoencoder.decode(autoencoder.encode(images))
    coded = autoencoder.distribution(images)
    autoencoder.standardise(coded.mean, coded.std)
    latents = autoencoder.encode(images)
    np.testing.assert_allclose(latents.mean((0, 2, 3)), 0, atol=1e-4)
    assert latents.var((0, 2, 3)).mean() == pytest.approx(1, rel=1e-3)
    torch.testing.assert_close(autoencoder.decode(latents), before, atol=1e-4, rtol=0)


def test_precisely_coded_channels_get_more_variance(autoencoder):
    """Equal spreads, of which the last is coded 16 times as precisely."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(4000, 4, 2, 2, generator=generator)
    deviations = torch.full_like(means, 0.16)
    deviations[:, 3] = 0.01
    autoencoder.standardise(means, deviations)
    scaled = (means - autoencoder.latent_mean) / autoencoder.latent_std
    expected = np.array([1, 1, 1, 16]) / 4.75
    np.testing.assert_allclose(scaled.var((0, 2, 3)), expected, rtol=0.05)


def test_the_digest_is_of_what_decides_the_latents(autoencoder):
    first = autoencoder.latents_digest()
    for parameter in autoencoder.decoder_parameters():
        parameter.add_(1)
    assert autoencoder.latents_digest() == first
    autoencoder.patch_encoder.bias.add_(1e-6)
    assert autoencoder.latents_digest() != first


def test_every_parameter_is_of_the_encoder_or_of_the_decoder(autoencoder):
    decoder = {id(parameter) for parameter in autoencoder.decoder_parameters()}
    others = [
        name
        for name, parameter in autoencoder.named_parameters()
        if id(parameter) not in decoder
    ]
    parts = {".".join(name.split(".")[:2]) for name in others}
    assert parts == {
        "kl.encoder",
        "kl.quant_conv",
        "patch_encoder.weight",
        "patch_encoder.bias",
    }


def test_psnr_in_closed_form():
    first = torch.zeros(2, 3, 4, 4)
    # An error of 0.2 everywhere, of a range of 2: 20 dB.
    np.testing.assert_allclose(psnr(first + 0.2, first), 20, rtol=1e-5)
    assert psnr(first + 5, first)[0] == pytest.approx(10 * np.log10(4))


def test_an_impossible_size_is_refused():
    with pytest.raises(InputError, match="multiple of 8"):
        AutoencoderConfig(image_size=60)
