"""Augmentation: what it may change, what it must not, and by how much."""

import dataclasses

import numpy as np
import pytest
import torch

from bridges.pixels import to_unit_range
from bridges.recognition.augmentation import AUGMENTATIONS, Augmentation, augment

NONE = AUGMENTATIONS["none"]


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (64, 16, 16, 3), np.uint8))
    return pixels.permute(0, 3, 1, 2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_none_only_scales(images):
    torch.testing.assert_close(
        augment(images, NONE, generator()), to_unit_range(images)
    )


def test_flip_alone_gives_each_image_or_its_mirror(images):
    out = augment(images, dataclasses.replace(NONE, flip=0.5), generator())
    plain = to_unit_range(images)
    same = (out == plain).flatten(1).all(1)
    mirrored = (out == plain.flip(3)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 16 < mirrored.sum() < 48


def test_shift_alone_moves_each_image_within_its_limit(images):
    out = augment(images, dataclasses.replace(NONE, shift=2), generator())
    plain = to_unit_range(images).numpy()
    seen = set()
    for image, original in zip(out.numpy(), plain, strict=True):
        padded = np.pad(original, ((0, 0), (2, 2), (2, 2)), mode="edge")
        fits = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if np.array_equal(padded[:, y : y + 16, x : x + 16], image)
        ]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) > 15


@pytest.mark.parametrize(
    ("name", "value"), [("contrast", 0.2), ("brightness", 0.1), ("cast", 0.05)]
)
def test_photometric_strength_is_the_stated_deviation(name, value):
    grey = torch.full((4000, 3, 2, 2), 191, dtype=torch.uint8)
    out = augment(grey, dataclasses.replace(NONE, **{name: value}), generator())
    level = (191 / 127.5) - 1
    change = (out - level)[:, :, 0, 0] / (level if name == "contrast" else 1)
    assert change.std().item() == pytest.approx(value, rel=0.05)
    shared = (change - change[:, :1]).abs().max().item()
    assert (shared > 0.05) == (name == "cast")


def test_noise_has_at_most_the_stated_deviation():
    grey = torch.full((200, 3, 32, 32), 128, dtype=torch.uint8)
    out = augment(grey, dataclasses.replace(NONE, noise=0.03), generator())
    deviations = out.flatten(1).std(1)
    assert deviations.max() < 0.033 and deviations.min() < 0.003


def test_low_resolution_removes_fine_detail_from_some(images):
    out = augment(images, dataclasses.replace(NONE, low_resolution=0.5), generator(3))
    plain = to_unit_range(images)
    changed = ~(out == plain).flatten(1).all(1)
    assert 16 < changed.sum() < 48
    assert out[changed].var() < 0.8 * plain[changed].var()


@pytest.mark.parametrize("augmentation", AUGMENTATIONS.values())
def test_same_generator_same_result_and_input_untouched(images, augmentation):
    before = images.clone()
    one = augment(images, augmentation, generator(5))
    two = augment(images, augmentation, generator(5))
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert torch.equal(images, before)
    assert one.is_contiguous(memory_format=torch.channels_last)
    assert one.abs().max() <= 1.2
    if augmentation != NONE:
        assert not torch.equal(one, augment(images, augmentation, generator(6)))


def test_defaults_are_the_standard_strength():
    assert AUGMENTATIONS["standard"] == Augmentation()
