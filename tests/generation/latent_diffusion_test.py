"""The diffusion's loss and sampler against closed forms."""

import pytest
import torch
from torch import nn

from bridges.generators.latent_diffusion.denoiser import (
    DiffusionConfig,
    IdentityDenoiser,
)
from bridges.generators.latent_diffusion.diffusion_loss import diffusion_loss
from bridges.generators.latent_diffusion.noise_schedule import noise_schedule
from bridges.generators.latent_diffusion.sampler import (
    guidance_schedule,
    sample_latents,
)
from hyperface_jax import InputError
from tests.generation import tiny_models


class PointMass(nn.Module):
    """The exact denoiser of data that is always ``point``: v from z_t and t alone.

    From ``z_t = √a z + √(1-a) ε`` with z known, ε follows, and v with it. A condition
    moves the point along its first entry.
    """

    def __init__(self, point: torch.Tensor) -> None:
        super().__init__()
        self.point = point
        self.power = noise_schedule().alphas_cumprod

    def forward(self, noisy, times, embeddings):
        power = self.power[times.long()].view(-1, 1, 1, 1)
        point = self.point + embeddings[:, :1, None, None]
        noise = (noisy - power.sqrt() * point) / (1 - power).sqrt()
        return power.sqrt() * noise - (1 - power).sqrt() * point


@pytest.fixture
def point():
    return torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("steps", [1, 2, 10])
def test_the_sampler_finds_the_only_face_there_is(point, steps, guidance):
    embeddings = torch.tensor([[0.0, 1.0], [0.6, 0.8]])
    noise = torch.randn(2, 4, 2, 2)
    found = sample_latents(
        PointMass(point), embeddings, noise, guidance=guidance, steps=steps
    )
    # Guidance extrapolates what the condition adds.
    expected = point + guidance * embeddings[:, :1, None, None]
    torch.testing.assert_close(found, expected.expand_as(found), atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("guidance", "steps", "expected"),
    [
        (4.0, 10, [0.25] * 4 + [4.0] * 6),
        (4.0, 4, [0.25] + [4.0] * 3),
        (1.0, 5, [1.0] * 5),
        (0.3, 5, [0.3] * 5),
        (0.0, 5, [0.0] * 5),
    ],
)
def test_guidance_is_weak_at_first(guidance, steps, expected):
    assert guidance_schedule(guidance, steps) == expected


def test_the_first_step_is_guided_as_the_schedule_says(point):
    """DPM-Solver++ starts with a step of DDIM, whose closed form is known."""
    embeddings = torch.tensor([[0.6, 0.8]])
    noise = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    seen = []
    exact = PointMass(point)

    def recorded(noisy, time, rows):
        seen.append((noisy[:1].clone(), int(time)))
        return exact(noisy, time, rows)

    sample_latents(recorded, embeddings, noise, guidance=4.0, steps=5)
    (_, first), (second, then) = seen[:2]
    power = noise_schedule().alphas_cumprod
    face = point + 0.25 * embeddings[:, :1, None, None]
    noise_left = (noise - power[first].sqrt() * face) / (1 - power[first]).sqrt()
    expected = power[then].sqrt() * face + (1 - power[then]).sqrt() * noise_left
    torch.testing.assert_close(second, expected, atol=1e-3, rtol=0)


def test_the_loss_of_the_exact_denoiser_is_zero(point):
    latents = point.expand(64, -1, -1, -1)
    embeddings = torch.zeros(64, 2)
    loss = diffusion_loss(PointMass(point), latents, embeddings, noise_schedule())
    assert loss.item() < 1e-8


def test_the_loss_of_a_constant_denoiser_in_closed_form():
    """Predicting v = 0 for standard normal latents costs 1 times the mean weight."""

    def zero(noisy, times, embeddings):
        del times, embeddings
        return torch.zeros_like(noisy)

    power = noise_schedule().alphas_cumprod
    count = 4000
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(count, 4, 8, 8, generator=generator)
    loss = diffusion_loss(
        zero, latents, torch.zeros(count, 2), noise_schedule(), generator=generator
    )
    snr = power / (1 - power)
    expected = (snr.clamp(max=5) / (snr + 1)).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=0.01)


def test_the_schedule_starts_clean_and_ends_in_noise():
    power = noise_schedule().alphas_cumprod
    assert power.shape == (1000,)
    assert power[0] > 0.9999
    assert power[-1] < 1e-6
    assert (power.diff() < 0).all()


def test_shapes_and_that_the_condition_matters():
    torch.manual_seed(0)
    denoiser = IdentityDenoiser(tiny_models.DENOISER).eval()
    noisy = torch.randn(3, 4, 2, 2)
    rows = torch.from_numpy(tiny_models.unit_rows(3))
    with torch.no_grad():
        first = denoiser(noisy, torch.tensor([5, 500, 990]), rows)
        other = denoiser(noisy, torch.tensor([5, 500, 990]), -rows)
    assert first.shape == noisy.shape
    assert (first - other).abs().amax((1, 2, 3)).min() > 1e-4


def test_an_impossible_shape_is_refused():
    with pytest.raises(InputError, match="norm_groups"):
        DiffusionConfig(channels=(96, 100))
