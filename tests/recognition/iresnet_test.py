"""Backbones: sizes, published parameter counts, layouts, refusals."""

import pytest
import torch

from bridges.recognition.backbones import build_backbone
from hyperface_jax import InputError


@pytest.mark.parametrize(
    ("name", "published"),
    [("iresnet18", 24_025_600), ("iresnet50", 43_590_848), ("iresnet100", 65_156_160)],
)
def test_parameter_counts_are_insightfaces(name, published):
    backbone = build_backbone(name)
    assert sum(p.numel() for p in backbone.parameters()) == published


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
