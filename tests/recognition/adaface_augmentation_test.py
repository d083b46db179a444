"""AdaFace's three augmentations, and the same numbers however a batch is divided."""

import dataclasses

import numpy as np
import pytest
import torch

from bridges.pixels import to_unit_range
from bridges.recognition.augmentation import AUGMENTATIONS, augment
from bridges.recognition.draws import Part

NONE = AUGMENTATIONS["none"]


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(1, 256, (400, 12, 16, 3), np.uint8))
    return pixels.permute(0, 3, 1, 2)


def varied(images, seed=0, **strength):
    generator = torch.Generator().manual_seed(seed)
    return augment(images, dataclasses.replace(NONE, **strength), generator)


def changed(images, out):
    return ~(out == to_unit_range(images)).flatten(1).all(1)


def test_crop_leaves_a_rectangle_where_it_is(images):
    out, plain = varied(images, crop=0.5), to_unit_range(images)
    cropped = changed(images, out)
    assert 150 < cropped.sum() < 250
    areas = []
    for image, original in zip(out[cropped], plain[cropped], strict=True):
        kept = (image != -1).all(0)
        rows, columns = kept.any(1).nonzero()[:, 0], kept.any(0).nonzero()[:, 0]
        box = (
            slice(rows[0], rows[-1] + 1),
            slice(columns[0], columns[-1] + 1),
        )
        assert kept[box].all() and kept.sum() == kept[box].numel()
        assert torch.equal(image[:, box[0], box[1]], original[:, box[0], box[1]])
        areas.append(kept.float().mean().item())
    assert min(areas) > 0.15 and max(areas) > 0.9
    assert 0.5 < np.mean(areas) < 0.7  # of the uniform distribution from 0.2 to 1


def test_resampling_takes_detail_from_some(images):
    out, plain = varied(images, resample=0.5), to_unit_range(images)
    reduced = changed(images, out)
    assert 130 < reduced.sum() < 250
    assert out[reduced].var() < 0.8 * plain[reduced].var()
    assert out.abs().max() <= 1


class TestJitter:
    def test_grey_is_only_made_brighter_or_darker(self):
        """Contrast and saturation leave a plain grey as it is."""
        grey = torch.full((500, 3, 2, 2), 100, dtype=torch.uint8)
        out = (varied(grey, jitter=1.0) + 1) / 2 * 255 / 100
        assert (out - out.flatten(1)[:, 0, None, None, None]).abs().max() < 1e-5
        factors = out[:, 0, 0, 0]
        assert factors.min() >= 0.5 - 1e-5 and factors.max() <= 1.5 + 1e-5
        assert factors.mean().item() == pytest.approx(1, abs=0.05)
        assert factors.std().item() == pytest.approx(1 / 12**0.5, rel=0.1)

    def test_saturation_moves_colours_along_the_line_to_their_grey(self):
        colour = torch.tensor([120, 100, 90], dtype=torch.uint8)
        images = colour[None, :, None, None].expand(200, 3, 2, 2)
        out = (varied(images, jitter=1.0)[:, :, 0, 0] + 1) / 2
        grey = out @ torch.tensor([0.299, 0.587, 0.114])
        apart = (out - grey[:, None]) / grey[:, None]
        # Contrast acts on them, too; the direction is the colour's own.
        cosines = torch.nn.functional.cosine_similarity(apart, apart[:1])
        assert cosines.min() > 0.999
        assert apart.norm(dim=1).max() / apart.norm(dim=1).min() > 2

    def test_others_stay(self, images):
        share = changed(images, varied(images, jitter=0.2)).float().mean()
        assert 0.12 < share < 0.28


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_part_of_a_batch_is_varied_as_in_the_whole(images, name):
    images = images[:24]
    strength = AUGMENTATIONS[name]

    def of(rows, part=None):
        return augment(rows, strength, torch.Generator().manual_seed(4), part)

    parts = [of(images[i : i + 8], Part(i, 24)) for i in (0, 8, 16)]
    torch.testing.assert_close(torch.cat(parts), of(images), rtol=0, atol=0)
