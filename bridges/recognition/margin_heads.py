"""Heads with a fixed margin: ArcFace, CosFace, and both with SphereFace's in one.

The target becomes :math:`\\cos(m_1 \\theta + m_2) - m_3`, continued where the
angle passes :math:`\\pi`, so that it goes on falling (:func:`falling_cosine`). Public
implementations fall back to another formula there, each to its own, or let it rise
again; for a margin of 0.5 it matters beyond 151 degrees, where no class is.
"""

import torch

from bridges.recognition.cosine_kernel import CosineKernel, grown, with_target
from bridges.recognition.head_options import (
    ArcFaceOptions,
    CombinedOptions,
    CosFaceOptions,
)
from bridges.recognition.heads import HeadOutput

# Away from ±1 the arc cosine has a finite slope; AdaFace's code clamps ArcFace so.
_EPSILON = 1e-4


class MarginHead(CosineKernel):
    """The combined margin (Deng et al., 2019, equation 4) on cosines times a scale.

    Args:
      embedding_size: length of the backbone's output.
      num_classes: number of identities.
      scale: ``s``.
      angle_factor: ``m1``.
      angle_margin: ``m2``, in radians.
      cosine_margin: ``m3``.
      margin_warmup: fraction of the training over which the three grow from 1, 0, 0.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        *,
        scale: float,
        angle_factor: float = 1.0,
        angle_margin: float = 0.0,
        cosine_margin: float = 0.0,
        margin_warmup: float = 0.0,
    ) -> None:
        super().__init__(embedding_size, num_classes)
        self.scale = scale
        self.margins = (angle_factor, angle_margin, cosine_margin)
        self.margin_warmup = margin_warmup

    def forward(
        self, features: torch.Tensor, labels: torch.Tensor, progress: float = 1.0
    ) -> HeadOutput:
        """Logits of a batch, see :class:`bridges.recognition.heads.Head`."""
        cosines, _ = self.cosines(features)
        target = cosines.gather(1, labels[:, None])
        logits = with_target(cosines, labels, self.target(target, progress))
        return HeadOutput(self.scale * logits, cosines.detach())

    def target(self, cosine: torch.Tensor, progress: float) -> torch.Tensor:
        """The cosine to the own class, with the margin.

        Args:
          cosine: any shape, about -1 to 1.
          progress: fraction of the training that is done.
        """
        factor, angle, offset = (
            grown(value, start, self.margin_warmup, progress)
            for value, start in zip(self.margins, (1.0, 0.0, 0.0), strict=True)
        )
        if factor == 1 and angle == 0:
            return cosine - offset
        return falling_cosine(factor * angle_of(cosine) + angle) - offset


def angle_of(cosine: torch.Tensor) -> torch.Tensor:
    """The angle of a cosine, cut off where the arc cosine's slope grows without end."""
    return torch.acos(cosine.clamp(-1 + _EPSILON, 1 - _EPSILON))


def falling_cosine(angle: torch.Tensor) -> torch.Tensor:
    """A cosine that goes on falling beyond pi (Liu et al., CVPR 2017, equation 7).

    :math:`\\psi(\\phi) = (-1)^k \\cos \\phi - 2 k` with
    :math:`k = \\lfloor \\phi / \\pi \\rfloor`: continuous, and it never rises.

    Args:
      angle: any shape, in radians, at least 0.
    """
    turns = torch.floor(angle.detach() / torch.pi)
    sign = 1 - 2 * (turns % 2)
    return sign * torch.cos(angle) - 2 * turns


class ArcFaceHead(MarginHead):
    """ArcFace: a margin in the angle (Deng et al., CVPR 2019)."""

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        options: ArcFaceOptions | None = None,
    ) -> None:
        options = options or ArcFaceOptions()
        super().__init__(
            embedding_size,
            num_classes,
            scale=options.scale,
            angle_margin=options.margin,
            margin_warmup=options.margin_warmup,
        )


class CosFaceHead(MarginHead):
    """CosFace: a margin in the cosine (Wang et al., CVPR 2018)."""

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        options: CosFaceOptions | None = None,
    ) -> None:
        options = options or CosFaceOptions()
        super().__init__(
            embedding_size,
            num_classes,
            scale=options.scale,
            cosine_margin=options.margin,
            margin_warmup=options.margin_warmup,
        )


class CombinedHead(MarginHead):
    """All three margins at once (Deng et al., 2019, equation 4)."""

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        options: CombinedOptions | None = None,
    ) -> None:
        options = options or CombinedOptions()
        super().__init__(
            embedding_size,
            num_classes,
            scale=options.scale,
            angle_factor=options.angle_factor,
            angle_margin=options.angle_margin,
            cosine_margin=options.cosine_margin,
            margin_warmup=options.margin_warmup,
        )
