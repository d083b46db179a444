"""Margin heads: classification losses on the angle between embedding and class.

A head is built as ``HEADS[name](embedding_size, num_classes, scale=…, margin=…)`` and
called with raw backbone outputs and labels; a new head is a class in ``HEADS`` and a
name in ``config.CHOICES``.
"""

import inspect
from typing import Any, NamedTuple

import torch
from torch import nn

from hyperface_jax import checks

# Away from ±1 the arc cosine has a finite slope.
_EPSILON = 1e-3
_NORM_RANGE = (1e-3, 100.0)


class HeadOutput(NamedTuple):
    """What a head computes.

    Attributes:
      logits: ``[n, classes]`` for the cross-entropy, margin and scale applied.
      cosines: ``[n, classes]`` in [-1, 1] without margin, for the accuracy.
    """

    logits: torch.Tensor
    cosines: torch.Tensor


class AdaFaceHead(nn.Module):
    """AdaFace: a margin that grows with the image's quality (Kim et al., 2022).

    Quality is read from the norm of the backbone's output, standardised by running
    statistics and clipped:

    .. math::

        \\hat z = \\mathrm{clip}(h (\\|z\\| - \\mu) / (\\sigma + 10^{-3}), -1, 1),
        \\quad
        s (\\cos(\\theta_y - m \\hat z) - m (1 + \\hat z))

    so that :math:`\\hat z = -1` is ArcFace, :math:`0` CosFace with margin ``m``. No
    gradient flows through :math:`\\hat z`.

    Attributes:
      kernel: ``[embedding_size, num_classes]``, a column for each class.
      batch_mean: running mean of the norms.
      batch_std: their running standard deviation (ddof = 1).
      num_updates: how many batches went into the two.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        *,
        scale: float = 64.0,
        margin: float = 0.4,
        concentration: float = 0.333,
        momentum: float = 0.01,
        warm_start: bool = False,
    ) -> None:
        """Draws the kernel from torch's global generator.

        Args:
          embedding_size: length of the backbone's output.
          num_classes: number of identities.
          scale: ``s``, the inverse temperature.
          margin: ``m``, in radians for the angle and in cosine for the offset.
          concentration: ``h``, how much of a standard deviation spans the clip range.
          momentum: weight of a new batch in the running statistics.
          warm_start: take the running statistics from the first batches. As published
            they start at 20 and 100, and with a momentum of 0.01 it takes some 460
            steps until the standard deviation has come down from 100 and the margin
            starts to adapt: longer than a short training.
        """
        super().__init__()
        kernel = torch.empty(embedding_size, num_classes).uniform_(-1, 1)
        self.kernel = nn.Parameter(nn.functional.normalize(kernel, dim=0))
        self.scale = scale
        self.margin = margin
        self.concentration = concentration
        self.momentum = momentum
        self.warm_start = warm_start
        self.register_buffer("batch_mean", torch.tensor(20.0))
        self.register_buffer("batch_std", torch.tensor(100.0))
        self.register_buffer("num_updates", torch.tensor(0))

    def forward(
        self, features: torch.Tensor, labels: torch.Tensor, margin_weight: float = 1.0
    ) -> HeadOutput:
        """Logits of a batch; in training mode the running statistics are updated.

        Args:
          features: ``[n, embedding_size]``, raw backbone outputs.
          labels: ``[n]`` int64 in ``0 … num_classes-1``.
          margin_weight: multiplies the margin; ramped up from 0 at the start.
        """
        norms = torch.linalg.vector_norm(features, dim=1, keepdim=True)
        cosines = (features / norms) @ nn.functional.normalize(self.kernel, dim=0)
        cosines = cosines.clamp(-1 + _EPSILON, 1 - _EPSILON)
        quality = self._quality(norms.detach().clamp(*_NORM_RANGE))
        margin = margin_weight * self.margin
        target = cosines.gather(1, labels[:, None])
        angle = torch.acos(target) - margin * quality
        angle = angle.clamp(_EPSILON, torch.pi - _EPSILON)
        target = torch.cos(angle) - margin * (1 + quality)
        logits = cosines.scatter(1, labels[:, None], target)
        return HeadOutput(self.scale * logits, cosines.detach())

    @torch.no_grad()
    def _quality(self, norms: torch.Tensor) -> torch.Tensor:
        if self.training and len(norms) > 1:
            self.num_updates += 1
            weight = self.momentum
            if self.warm_start:
                weight = max(weight, 1 / int(self.num_updates))
            self.batch_mean.lerp_(norms.mean(), weight)
            self.batch_std.lerp_(norms.std(), weight)
        deviation = (norms - self.batch_mean) / (self.batch_std + _EPSILON)
        return (self.concentration * deviation).clamp(-1, 1)


HEADS: dict[str, type[nn.Module]] = {"adaface": AdaFaceHead}


def build_head(
    name: str, embedding_size: int, num_classes: int, **options: Any
) -> nn.Module:
    """Builds a head of ``HEADS`` with fresh weights.

    Raises:
      InputError: an unknown name or option, or an impossible size.
    """
    checks.one_of(name, "head", tuple(HEADS))
    checks.whole_number(embedding_size, "embedding_size", 1)
    checks.whole_number(num_classes, "num_classes", 1)
    known = inspect.signature(HEADS[name]).parameters
    for option in options:
        checks.one_of(option, f"option of {name}", tuple(known)[2:])
    return HEADS[name](embedding_size, num_classes, **options)
