"""AdaFace's three augmentations: crop, resampling, light and colour.

Kim et al., 2022, section 4.1, with the constants of its training script: each on a
fifth of the images, in this order. Its resampling also knows Lanczos' kernel, which
torch has not.
"""

import torch
from torch.nn import functional

from bridges.recognition.draws import Draws

_AREA = (0.2, 1.0)
_LOG_RATIO = float(torch.tensor(4 / 3).log())
_SIDE = (0.2, 1.0)
_KERNELS = ("nearest", "bilinear", "area", "bicubic")
_STRENGTH = 0.5
# Of red, green and blue in grey (ITU-R BT.601).
_GREY = (0.299, 0.587, 0.114)
_BLACK = -1.0


def crop(x: torch.Tensor, probability: float, draws: Draws) -> torch.Tensor:
    """Leaves a random rectangle of some images where it is, and blackens the rest.

    Its area is 0.2 to 1 of the image's, its ratio 3/4 to 4/3.

    Args:
      x: ``[n, 3, h, w]`` in [-1, 1].
      probability: with which an image is cropped.
      draws: of the images.
    """
    height, width = x.shape[-2:]
    chosen, area, ratio, top, left = draws.uniform(5).T
    area = _AREA[0] + (_AREA[1] - _AREA[0]) * area
    ratio = torch.exp(_LOG_RATIO * (2 * ratio - 1))
    tall = (height * torch.sqrt(area / ratio)).round().clamp(1, height)
    wide = (width * torch.sqrt(area * ratio)).round().clamp(1, width)
    top, left = (top * (height - tall + 1)).floor(), (left * (width - wide + 1)).floor()
    rows, columns = torch.arange(height), torch.arange(width)
    inside = (
        _within(rows, top, tall)[:, :, None] & _within(columns, left, wide)[:, None]
    )
    inside |= (chosen >= probability)[:, None, None]
    return torch.where(inside[:, None].to(x.device), x, _BLACK)


def _within(
    places: torch.Tensor, first: torch.Tensor, size: torch.Tensor
) -> torch.Tensor:
    return (places >= first[:, None]) & (places < (first + size)[:, None])


def resample(x: torch.Tensor, probability: float, draws: Draws) -> torch.Tensor:
    """Reduces some images by a random kernel, and enlarges them again by another.

    The smaller side is 0.2 to 1 of the image's.

    Args:
      x: ``[n, 3, h, w]`` in [-1, 1].
      probability: with which an image is resampled.
      draws: of the images.
    """
    chosen, side, down, up = draws.uniform(4).T
    rows = (chosen < probability).nonzero()[:, 0].tolist()
    if not rows:
        return x
    x = x.clone()
    sides = (_SIDE[0] + (_SIDE[1] - _SIDE[0]) * side) * x.shape[-1]
    for row in rows:
        small = max(1, round(sides[row].item()))
        kernels = (_KERNELS[int(each[row] * len(_KERNELS))] for each in (down, up))
        reduced = functional.interpolate(
            x[row, None], (small, small), mode=next(kernels)
        )
        x[row] = functional.interpolate(reduced, x.shape[-2:], mode=next(kernels))[0]
    # A cubic kernel overshoots; files hold no such values.
    return x.clamp(-1, 1)


def jitter(x: torch.Tensor, probability: float, draws: Draws) -> torch.Tensor:
    """Changes brightness, contrast and saturation of some images, in random order.

    Each by a factor of 0.5 to 1.5.

    Args:
      x: ``[n, 3, h, w]`` in [-1, 1].
      probability: with which an image is changed.
      draws: of the images.
    """
    drawn = draws.uniform(7)
    rows = (drawn[:, 0] < probability).nonzero()[:, 0]
    if not len(rows):
        return x
    factors = (1 + _STRENGTH * (2 * drawn[rows, 1:4] - 1)).to(x.device)
    order = drawn[rows, 4:7].argsort(1).to(x.device)
    rows = rows.to(x.device)
    values = (x[rows] + 1) / 2
    for turn in range(3):
        kind = order[:, turn, None, None, None]
        factor = factors.gather(1, order[:, turn, None])[:, :, None, None]
        grey = _grey(values)
        mean = grey.mean((1, 2, 3), keepdim=True)
        # Brightness blends with black, contrast with the mean, saturation with grey.
        other = torch.where(kind == 0, 0.0, torch.where(kind == 1, mean, grey))
        values = (other + factor * (values - other)).clamp(0, 1)
    x = x.clone()
    x[rows] = values * 2 - 1
    return x


def _grey(values: torch.Tensor) -> torch.Tensor:
    weights = torch.tensor(_GREY, dtype=values.dtype, device=values.device)
    return (values * weights[:, None, None]).sum(1, keepdim=True)
