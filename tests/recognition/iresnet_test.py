"""Backbones: sizes, published parameter counts, layouts, refusals."""

import pytest
import torch
from torch import nn

from bridges.recognition.backbones import build_backbone
from hyperface_jax import InputError


def counted(depths, *, adaface):
    """Parameters of a network for 112 pixels and 512 numbers, layer by layer."""
    total, channels = 27 * 64 + 2 * 64 + 64, 64
    for width, depth in zip((64, 128, 256, 512), depths, strict=True):
        for i in range(depth):
            total += 2 * channels + 9 * channels * width + 2 * width + width
            total += 9 * width * width + 2 * width
            # AdaFace drops pixels where the width stays.
            if i == 0 and (channels != width or not adaface):
                total += channels * width + 2 * width
            channels = width
    total += 2 * 512 + (512 * 7 * 7 + 1) * 512
    return total if adaface else total + 2 * 512


@pytest.mark.parametrize(
    ("name", "depths", "published"),
    [
        ("iresnet18", (2, 2, 2, 2), 24_025_600),
        ("iresnet34", (3, 4, 6, 3), None),
        ("iresnet50", (3, 4, 14, 3), 43_590_848),
        ("iresnet100", (3, 13, 30, 3), 65_156_160),
        ("iresnet200", (6, 26, 60, 6), None),
        ("ir_18", (2, 2, 2, 2), 24_020_352),
        ("ir_34", (3, 4, 6, 3), None),
        ("ir_50", (3, 4, 14, 3), 43_585_600),
        ("ir_101", (3, 13, 30, 3), 65_150_912),
        ("ir_100", (3, 13, 30, 3), 65_150_912),
    ],
)
def test_parameter_counts_are_the_published_ones(name, depths, published):
    with torch.device("meta"):
        backbone = build_backbone(name)
    found = sum(p.numel() for p in backbone.parameters())
    assert found == counted(depths, adaface=name.startswith("ir_"))
    assert found == (published or found)


def old_start(network):
    """Batch normalisations as insightface and AdaFace begin them: variance 1."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.fill_(1.0)
    return network


@pytest.mark.parametrize("name", ["iresnet18", "iresnet50", "iresnet100", "ir_101"])
def test_an_untrained_network_keeps_the_scale_of_what_it_is_given(name):
    torch.manual_seed(0)
    network = build_backbone(name, image_size=32, embedding_size=16).eval()
    x = torch.rand(4, 3, 32, 32) * 2 - 1
    scales = []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(
                lambda module, _, out: scales.append(out.square().mean())
            )
    with torch.no_grad():
        rows = nn.functional.normalize(network(x))
        # About 1, less where most of a small map is its border.
        assert 0.005 < min(scales) and max(scales) < 20
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(4))
        assert (rows @ rows.T - torch.eye(4)).max() < 0.999
        if name == "iresnet100":  # Else the test would show nothing.
            assert not old_start(network)(x).isfinite().all()


@pytest.mark.parametrize("name", ["iresnet18", "ir_18"])
def test_where_running_statistics_start_changes_no_bit_of_a_training(name):
    def trained(start):
        torch.manual_seed(0)
        network = start(build_backbone(name, image_size=16, embedding_size=4)).train()
        solver = torch.optim.SGD(network.parameters(), 0.1)
        for _ in range(2):
            loss = network(torch.rand(4, 3, 16, 16)).mul(torch.rand(4, 4)).sum()
            solver.zero_grad()
            loss.backward()
            solver.step()
        return [loss.detach(), *network.parameters()]

    for new, old in zip(trained(lambda n: n), trained(old_start), strict=True):
        assert torch.equal(new, old)


def test_convolutions_begin_as_in_the_literature():
    torch.manual_seed(0)
    network = build_backbone("iresnet18", image_size=32)
    weights = network.layer3[1].conv2.weight
    assert weights.std().item() == pytest.approx(0.1, rel=0.01)
    assert abs(weights.mean().item()) < 1e-3


def test_parameter_names_are_insightfaces():
    names = set(build_backbone("iresnet50").state_dict())
    for name in (
        "conv1.weight",
        "bn1.running_mean",
        "prelu.weight",
        "layer1.0.bn1.weight",
        "layer1.0.downsample.0.weight",
        "layer1.0.downsample.1.running_var",
        "layer3.13.conv2.weight",
        "layer4.2.bn3.bias",
        "bn2.weight",
        "fc.bias",
        "features.weight",
    ):
        assert name in names
    # Three stem entries fewer would be a layer lost: 24 blocks and nothing else.
    blocks = {name.split(".conv1")[0] for name in names if ".conv1.weight" in name}
    assert len(blocks) == 24


@pytest.mark.parametrize("name", ["iresnet_small", "iresnet18"])
@pytest.mark.parametrize("size", [32, 64])
def test_shapes_and_layouts(name, size):
    backbone = build_backbone(name, image_size=size, embedding_size=24).eval()
    x = torch.randn(3, 3, size, size)
    out = backbone(x)
    assert out.shape == (3, 24)
    last = backbone.to(memory_format=torch.channels_last)
    # Rounding is relative to the largest: small outputs are differences of large ones.
    torch.testing.assert_close(
        last(x.contiguous(memory_format=torch.channels_last)),
        out,
        rtol=1e-3,
        atol=1e-4 * out.abs().max().item(),
    )
    maps = backbone.feature_maps(x)
    sides = [feature_map.shape[-1] for feature_map in maps]
    assert sides == sorted(sides, reverse=True) and sides[-1] == size // 16


def test_small_backbone_is_small():
    backbone = build_backbone("iresnet_small", image_size=64)
    assert 2.3e6 < sum(p.numel() for p in backbone.parameters()) < 2.7e6


def test_every_trained_parameter_gets_a_gradient():
    backbone = build_backbone("iresnet_small", image_size=32, embedding_size=8)
    backbone(torch.randn(4, 3, 32, 32)).square().mul(torch.rand(4, 8)).sum().backward()
    still = [
        name
        for name, parameter in backbone.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]
    assert still == []
    assert not backbone.features.weight.requires_grad


@pytest.mark.parametrize(
    ("name", "image_size", "embedding_size", "reason"),
    [
        ("resnet50", 112, 512, "iresnet50"),
        ("iresnet50", 100, 512, "multiple of 16"),
        ("iresnet50", 0, 512, "image_size is 0"),
        ("iresnet50", 112, 1, "embedding_size is 1"),
    ],
)
def test_refusals(name, image_size, embedding_size, reason):
    with pytest.raises(InputError, match=reason):
        build_backbone(name, image_size=image_size, embedding_size=embedding_size)
