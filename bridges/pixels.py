"""Pixels of files and of networks: bytes here, numbers around zero there."""

import numpy as np
import torch


def to_unit_range(images: torch.Tensor) -> torch.Tensor:
    """uint8, any shape, in 0…255 to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """Float ``[n, 3, h, w]`` in [-1, 1], on any device, to uint8 ``[n, h, w, 3]``."""
    # Of half precision, bfloat16 least of all has a number for every grey level.
    pixels = images.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    # Copied once from an accelerator, as bytes.
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
