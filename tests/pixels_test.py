"""Bytes to numbers around zero, and back."""

import numpy as np
import torch

from bridges.pixels import to_pixels, to_unit_range


def test_bytes_become_minus_one_to_one():
    pixels = torch.tensor([0, 255, 51], dtype=torch.uint8)
    torch.testing.assert_close(to_unit_range(pixels), torch.tensor([-1.0, 1.0, -0.6]))


def test_what_is_beyond_the_range_is_cut_off():
    images = torch.tensor([-3.0, -1.0, 1.0, 3.0]).expand(1, 3, 1, 4)
    np.testing.assert_array_equal(to_pixels(images)[0, 0, :, 0], [0, 0, 255, 255])


def test_pixels_survive_the_way_there_and_back():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    back = to_pixels(to_unit_range(pixels))
    np.testing.assert_array_equal(back, pixels.permute(0, 2, 3, 1))
