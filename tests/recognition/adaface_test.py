"""The AdaFace head against a NumPy version and the heads it contains."""

import dataclasses

import numpy as np
import pytest
import torch

from bridges.recognition.adaface import AdaFaceHead
from bridges.recognition.head_options import AdaFaceOptions
from bridges.recognition.heads import build_head
from hyperface_jax import InputError

EPSILON = 1e-3
PUBLISHED = AdaFaceOptions(scale=64.0, warm_start=False, margin_warmup=0.0)


def adaface_in_numpy(features, kernel, labels, statistics, *, m=0.4, h=0.333, s=64.0):
    """The paper's formulas, one image after the other, in float64.

    Returns the logits and the statistics after the update.
    """
    features, kernel = features.astype(np.float64), kernel.astype(np.float64)
    mean, std = statistics
    norms = np.array([np.sqrt(np.sum(z * z)) for z in features])
    safe = np.clip(norms, 0.001, 100)
    mean = 0.01 * safe.mean() + 0.99 * mean
    std = (
        0.01 * np.sqrt(np.sum((safe - safe.mean()) ** 2) / (len(safe) - 1)) + 0.99 * std
    )
    columns = kernel / np.sqrt(np.sum(kernel**2, axis=0))
    logits = np.empty((len(features), kernel.shape[1]))
    for i, label in enumerate(labels):
        scaler = np.clip(h * (safe[i] - mean) / (std + EPSILON), -1, 1)
        cosines = np.clip(features[i] @ columns / norms[i], -1 + EPSILON, 1 - EPSILON)
        angle = np.clip(
            np.arccos(cosines[label]) - m * scaler, EPSILON, np.pi - EPSILON
        )
        logits[i] = s * cosines
        logits[i, label] = s * (np.cos(angle) - (m + m * scaler))
    return logits, (mean, std)


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 16)) * rng.uniform(2, 40, (12, 1))
    return features.astype(np.float32), rng.integers(0, 5, 12)


def test_three_batches_equal_numpy(batch):
    features, labels = batch
    head = AdaFaceHead(16, 5, PUBLISHED).train()
    statistics = (20.0, 100.0)
    for _ in range(3):
        out = head(torch.from_numpy(features), torch.from_numpy(labels))
        expected, statistics = adaface_in_numpy(
            features, head.kernel.detach().numpy(), labels, statistics
        )
        np.testing.assert_allclose(
            out.logits.detach().numpy(), expected, rtol=1e-4, atol=1e-4
        )
        assert head.batch_mean.item() == pytest.approx(statistics[0], rel=1e-5)
        assert head.batch_std.item() == pytest.approx(statistics[1], rel=1e-5)
        features = features * 1.5


@pytest.mark.parametrize(
    ("quality", "formula"),
    [
        (-1, lambda theta, m: np.cos(theta + m)),  # ArcFace
        (0, lambda theta, m: np.cos(theta) - m),  # CosFace
        (1, lambda theta, m: np.cos(theta - m) - 2 * m),
    ],
)
def test_heads_it_contains(quality, formula):
    head = AdaFaceHead(8, 4, PUBLISHED).eval()
    # Norm 10, and statistics that put it far below, at, or far above the mean.
    head.batch_mean.fill_(10.0 - 50 * quality)
    head.batch_std.fill_(1.0)
    features = torch.nn.functional.normalize(torch.randn(6, 8), dim=1) * 10
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    out = head(features, labels)
    theta = torch.acos(out.cosines[range(6), labels]).numpy()
    assert theta.min() > 0.41 and theta.max() < np.pi - 0.41
    target = out.logits[range(6), labels].detach().numpy() / 64
    np.testing.assert_allclose(target, formula(theta, 0.4), atol=1e-5)
    others = torch.ones(6, 4, dtype=torch.bool)
    others[range(6), labels] = False
    torch.testing.assert_close(out.logits[others].detach() / 64, out.cosines[others])


def test_no_gradient_through_the_quality(batch):
    features, labels = (torch.from_numpy(array) for array in batch)
    features.requires_grad_()
    out = AdaFaceHead(16, 5, dataclasses.replace(PUBLISHED, scale=1.0)).train()(
        features, labels
    )
    torch.nn.functional.cross_entropy(out.logits, labels).backward()
    # Without a path through the norms, the loss only depends on directions.
    radial = (features.grad * features).sum(1)
    assert radial.abs().max() < 1e-5 * (features.grad.norm() * features.norm())


def test_gradient_equals_finite_differences(batch):
    features, labels = (torch.from_numpy(array) for array in batch)
    head = AdaFaceHead(16, 5, dataclasses.replace(PUBLISHED, scale=8.0)).double().eval()
    head.batch_std.fill_(10.0)
    features = features.double()
    direction = torch.randn_like(features)
    # Along the sphere: the quality, which has no gradient, must not move.
    direction -= (
        (direction * features).sum(1, keepdim=True)
        * features
        / (features.square().sum(1, keepdim=True))
    )

    def loss(t):
        moved = features + t * direction
        moved = (
            moved * features.norm(dim=1, keepdim=True) / moved.norm(dim=1, keepdim=True)
        )
        out = head(moved, labels)
        return torch.nn.functional.cross_entropy(out.logits, labels)

    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(t), t)
    with torch.no_grad():
        difference = (loss(torch.tensor(1e-4)) - loss(torch.tensor(-1e-4))) / 2e-4
    assert slope.item() == pytest.approx(difference.item(), rel=1e-5)


def test_without_its_margin_it_is_a_plain_softmax(batch):
    features, labels = (torch.from_numpy(array) for array in batch)
    options = AdaFaceOptions(scale=30.0, margin_warmup=0.3)
    out = AdaFaceHead(16, 5, options)(features, labels, 0.0)
    torch.testing.assert_close(out.logits, 30 * out.cosines, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("warmup", "progress", "share"),
    [(0.3, 0.15, 0.5), (0.3, 0.3, 1.0), (0.3, 0.9, 1.0), (0.0, 0.0, 1.0)],
)
def test_margin_grows_linearly_with_the_progress(batch, warmup, progress, share):
    features, labels = (torch.from_numpy(array) for array in batch)
    growing = AdaFaceHead(16, 5, AdaFaceOptions(margin_warmup=warmup)).eval()
    whole = AdaFaceOptions(margin=0.4 * share, margin_warmup=0.0)
    fixed = AdaFaceHead(16, 5, whole).eval()
    fixed.load_state_dict(growing.state_dict())
    torch.testing.assert_close(
        growing(features, labels, progress).logits, fixed(features, labels).logits
    )


def test_statistics_stand_still_in_evaluation(batch):
    features, labels = (torch.from_numpy(array) for array in batch)
    head = AdaFaceHead(16, 5, PUBLISHED).eval()
    head(features, labels)
    assert head.batch_mean.item() == 20.0 and head.batch_std.item() == 100.0


def test_published_statistics_take_460_steps_to_warm_up():
    head = AdaFaceHead(8, 4, PUBLISHED).train()
    features = torch.nn.functional.normalize(torch.randn(4, 8), dim=1) * 20
    for _ in range(460):
        head(features, torch.arange(4))
    # All norms are equal, so the true deviation is 0 and what is left is the start.
    assert head.batch_std.item() == pytest.approx(100 * 0.99**460, rel=1e-2)


def test_warm_start_begins_with_the_running_mean():
    head = AdaFaceHead(8, 4, AdaFaceOptions(warm_start=True)).train()
    seen = []
    for step in range(30):
        features = torch.randn(4, 8) * (step + 1)
        seen.append(features.norm(dim=1))
        head(features, torch.arange(4))
    expected = torch.stack(seen).clamp(0.001, 100)
    assert head.batch_mean.item() == pytest.approx(expected.mean().item(), rel=1e-4)
    assert head.batch_std.item() == pytest.approx(
        expected.std(dim=1).mean().item(), rel=1e-4
    )


class TestBuildHead:
    def test_options_and_settings_are_two_ways_to_the_same(self):
        given = build_head("adaface", 8, 4, AdaFaceOptions(margin=0.5))
        named = build_head("adaface", 8, 4, margin=0.5)
        assert given.options == named.options == AdaFaceOptions(margin=0.5)
        assert build_head("adaface", 8, 4).options == AdaFaceOptions()

    @pytest.mark.parametrize(
        ("arguments", "settings", "reason"),
        [
            (("arc", 8, 4), {}, "head is 'arc', must be one of adaface"),
            (("adaface", 8, 4), {"margin": 1.6}, "margin is 1.6"),
            (("adaface", 8, 4), {"angle": 1}, "option of adaface is 'angle'"),
            (("adaface", 8, 4, AdaFaceOptions()), {"margin": 0.3}, "not both"),
            (("adaface", 8, 4, object()), {}, "takes AdaFaceOptions"),
        ],
    )
    def test_refusals(self, arguments, settings, reason):
        with pytest.raises(InputError, match=reason):
            build_head(*arguments, **settings)
