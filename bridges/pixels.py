"""Conversion between uint8 pixels of files and the [-1, 1] range of networks."""

import numpy as np
import torch


def to_unit_range(images: torch.Tensor) -> torch.Tensor:
    """Scales uint8 images of any shape to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """Converts ``[n, 3, h, w]`` in [-1, 1], on any device, to uint8 ``[n, h, w, 3]``.

    Values outside the range are clipped.
    """
    # Of half precision, bfloat16 least of all has a number for every grey level.
    pixels = images.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    # Copied once from an accelerator, as bytes.
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
