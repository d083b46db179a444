"""The heads against closed forms, each other, and finite differences."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from bridges.recognition.head_options import (
    AdaFaceOptions,
    CombinedOptions,
    SphereFaceOptions,
)
from bridges.recognition.heads import HEADS, build_head
from bridges.recognition.margin_heads import falling_cosine

# What leaves each head without its margin.
NO_MARGIN = {
    "adaface": {"margin": 0.0},
    "arcface": {"margin": 0.0},
    "cosface": {"margin": 0.0},
    "combined": {"angle_factor": 1.0, "angle_margin": 0.0, "cosine_margin": 0.0},
    "sphereface": {"angle_factor": 1.0},
    "sphereface_revived": {"angle_factor": 1.0},
    "softmax": {},
}
PUBLISHED = AdaFaceOptions(scale=64.0, warm_start=False, margin_warmup=0.0)


@pytest.fixture
def batch():
    """Twelve features of various lengths and directions, of five classes."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(12, 16, generator=generator)
    lengths = 2 + 20 * torch.rand(12, 1, generator=generator)
    labels = torch.randint(0, 5, (12,), generator=generator)
    return features * lengths, labels


def at_angles(head, angles):
    """Features of norm 3 whose angle to class 0 is as given, and their labels."""
    with torch.no_grad():
        head.kernel.zero_()
        head.kernel.fill_diagonal_(1.0)
    angles = torch.as_tensor(angles, dtype=head.kernel.dtype)
    features = torch.zeros(len(angles), head.kernel.shape[0], dtype=angles.dtype)
    # The last axis belongs to no class.
    features[:, 0], features[:, -1] = 3 * torch.cos(angles), 3 * torch.sin(angles)
    return features, torch.zeros(len(angles), dtype=torch.int64)


def targets(name, angles, progress=1.0, **settings):
    """The target's logit over the scale, at angles to its class, in float64."""
    head = build_head(name, 8, 4, **settings).double()
    features, labels = at_angles(head, angles)
    logits = head(features, labels, progress).logits[:, 0]
    return (logits / getattr(head, "scale", 1.0)).detach().numpy()


class TestClosedForms:
    angles = np.linspace(0.05, 2.5, 40)

    def test_arcface(self):
        found = targets("arcface", self.angles, margin=0.5)
        np.testing.assert_allclose(found, np.cos(self.angles + 0.5), atol=1e-12)

    def test_cosface(self):
        found = targets("cosface", self.angles, margin=0.35)
        np.testing.assert_allclose(found, np.cos(self.angles) - 0.35, atol=1e-12)

    def test_combined_has_an_effect_of_each_of_its_three_margins(self):
        angles = np.linspace(0.05, 2.0, 40)
        settings = {"angle_factor": 1.2, "angle_margin": 0.3, "cosine_margin": 0.2}
        found = targets("combined", angles, **settings)
        np.testing.assert_allclose(found, np.cos(1.2 * angles + 0.3) - 0.2, atol=1e-12)

    def test_combined_contains_the_others(self):
        for name, own in (
            ("arcface", {"angle_margin": 0.5, "cosine_margin": 0.0}),
            ("cosface", {"angle_margin": 0.0, "cosine_margin": 0.4}),
        ):
            combined = targets("combined", self.angles, **own)
            np.testing.assert_array_equal(combined, targets(name, self.angles))

    def test_revived_sphereface(self):
        angles = np.linspace(0.05, np.pi / 1.7, 40)
        found = targets("sphereface_revived", angles, angle_factor=1.7)
        np.testing.assert_allclose(found, np.cos(1.7 * angles), atol=1e-12)

    @pytest.mark.parametrize(("step", "weight"), [(0, 1500.0), (90, 150.0), (10**6, 5)])
    def test_sphereface_weighs_the_plain_cosine_less_and_less(self, step, weight):
        head = build_head("sphereface", 8, 4).double()
        features, labels = at_angles(head, self.angles)
        head.num_updates.fill_(step)
        found = head(features, labels).logits[:, 0].detach().numpy()
        # cos 4x by its polynomial; the number of half turns by counting.
        cosine = np.cos(self.angles)
        polynomial = 8 * cosine**4 - 8 * cosine**2 + 1
        turns = np.array([int(4 * angle / math.pi) for angle in self.angles])
        psi = (-1.0) ** turns * polynomial - 2 * turns
        expected = 3 * (weight * cosine + psi) / (1 + weight)
        np.testing.assert_allclose(found, expected, atol=1e-10)

    def test_sphereface_counts_the_batches_of_a_training_alone(self):
        head = build_head("sphereface", 8, 4)
        features, labels = at_angles(head, [0.3, 0.4])
        head(features, labels)
        head.eval()(features, labels)
        assert head.num_updates.item() == 1

    def test_softmax(self, batch):
        features, labels = batch
        head = build_head("softmax", 16, 5)
        torch.nn.init.normal_(head.bias)
        layer = torch.nn.Linear(16, 5)
        layer.weight.data, layer.bias.data = head.kernel.data.T, head.bias.data
        torch.testing.assert_close(head(features, labels).logits, layer(features))

    @pytest.mark.parametrize(("quality", "name"), [(-1, "arcface"), (0, "cosface")])
    def test_adaface_is_the_other_two_at_two_qualities(self, quality, name):
        ours = build_head("adaface", 8, 4, PUBLISHED).eval()
        other = build_head(name, 8, 4, margin=0.4, scale=64.0)
        features, labels = at_angles(ours, np.linspace(0.1, 2.6, 30))
        other.load_state_dict({"kernel": ours.kernel})
        # Norm 3, and statistics that put it far below the mean, or at it.
        ours.batch_mean.fill_(3.0 - 50 * quality)
        ours.batch_std.fill_(1.0)
        torch.testing.assert_close(
            ours(features, labels).logits[:, 0], other(features, labels).logits[:, 0]
        )


@pytest.mark.parametrize("name", NO_MARGIN)
def test_without_a_margin_it_is_a_softmax_of_scaled_cosines(batch, name):
    features, labels = batch
    head = build_head(name, 16, 5, **NO_MARGIN[name])
    out = head(features, labels)
    if name == "softmax":
        expected = features @ head.kernel
    else:
        cosines = functional.normalize(features) @ functional.normalize(
            head.kernel, dim=0
        )
        options = getattr(head, "options", None)
        scale = getattr(head, "scale", getattr(options, "scale", None))
        scale = features.norm(dim=1, keepdim=True) if scale is None else scale
        expected = scale * cosines
    torch.testing.assert_close(out.logits, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", HEADS)
def test_the_gradient_equals_finite_differences(batch, name):
    features, labels = batch
    options = {"adaface": {"warm_start": False}, "sphereface": {"lambda_start": 20.0}}
    head = build_head(name, 16, 5, **options.get(name, {})).double().eval()
    features = features.double()
    if name == "adaface":
        head.batch_std.fill_(1e6)  # The quality, through which none flows, is flat.

    def logits(x, kernel):
        if name == "sphereface_revived":
            # Its own gradient is another one by design, see the next test.
            cosines = functional.normalize(x) @ functional.normalize(kernel, dim=0)
            return head.scale * cosines
        parameters = {"kernel": kernel}
        return torch.func.functional_call(head, parameters, (x, labels, 1.0)).logits

    kernel = head.kernel.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(
        logits, (features.requires_grad_(), kernel), atol=1e-5
    )


def test_the_revived_gradient_is_the_plain_cosine_s():
    head = build_head("sphereface_revived", 8, 4).double()
    features, labels = at_angles(head, [0.4, 1.1, 2.8])
    features.requires_grad_()
    head(features, labels).logits[:, 0].sum().backward()
    found, features.grad = features.grad, None
    (head.scale * functional.normalize(features)[:, 0]).sum().backward()
    torch.testing.assert_close(found, features.grad)


class TestFallingCosine:
    @pytest.mark.parametrize("factor", [1.0, 1.35, 1.7, 2.5, 4.0])
    def test_never_rises_and_never_jumps(self, factor):
        angles = factor * torch.linspace(0, math.pi, 4001, dtype=torch.float64)
        steps = falling_cosine(angles).diff()
        assert steps.max() <= 1e-12
        assert steps.min() >= -factor * math.pi / 4000 - 1e-12

    def test_values(self):
        angles = torch.tensor([0, 1, 2, 3, 4], dtype=torch.float64) * math.pi / 2
        expected = torch.tensor([1, 0, -1, -2, -3], dtype=torch.float64)
        torch.testing.assert_close(falling_cosine(angles), expected)


@pytest.mark.parametrize("name", ["arcface", "combined", "sphereface_revived"])
def test_the_target_falls_up_to_the_opposite_direction(name):
    # To 0.9999 of it, where the arc cosine is cut off.
    found = targets(name, np.linspace(0.02, math.pi - 0.02, 500))
    assert (np.diff(found) < 0).all()


@pytest.mark.parametrize("name", HEADS)
class TestAnyHead:
    def test_inputs_stay_as_they_are(self, batch, name):
        features, labels = batch
        before = features.clone(), labels.clone()
        build_head(name, 16, 5)(features, labels)
        assert torch.equal(features, before[0]) and torch.equal(labels, before[1])

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_finite_on_the_class_opposite_it_and_at_zero(self, name, dtype):
        head = build_head(name, 8, 4)
        for parameter in head.parameters():
            parameter.data = parameter.data.to(dtype)
        with torch.no_grad():
            head.kernel.zero_()
            head.kernel.fill_diagonal_(1.0)
        features = torch.zeros(4, 8, dtype=dtype)
        features[0, 0], features[1, 0], features[2, 1] = 25.0, -25.0, 1e-3
        features.requires_grad_()
        labels = torch.zeros(4, dtype=torch.int64)
        loss = functional.cross_entropy(head(features, labels).logits, labels)
        loss.backward()
        assert loss.isfinite() and loss.dtype == torch.float32
        assert features.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in head.parameters())

    def test_cosines_carry_no_margin(self, batch, name):
        features, labels = batch
        out = build_head(name, 16, 5)(features, labels)
        assert not out.cosines.requires_grad
        assert out.cosines.shape == out.logits.shape == (12, 5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("arcface", {"margin": 0.5}),
        ("cosface", {"margin": 0.4}),
        ("sphereface_revived", {"angle_factor": 1.7}),
        ("combined", {"angle_margin": 0.3}),
    ],
)
def test_the_margin_grows_from_none(name, settings):
    angles = np.linspace(0.1, 2.5, 20)
    begun = targets(name, angles, 0.0, margin_warmup=0.4, **settings)
    np.testing.assert_allclose(begun, np.cos(angles), atol=1e-12)
    done = targets(name, angles, 0.4, margin_warmup=0.4, **settings)
    np.testing.assert_allclose(done, targets(name, angles, **settings), atol=1e-12)


def test_margins_of_impossible_size_are_refused():
    for options, change in (
        (CombinedOptions, {"angle_factor": 0.5}),
        (SphereFaceOptions, {"lambda_min": -1.0}),
    ):
        with pytest.raises(ValueError, match=next(iter(change))):
            options(**change)
