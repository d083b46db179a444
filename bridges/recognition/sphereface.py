"""SphereFace: the margin multiplies the angle; as published, and revived."""

import torch

from bridges.recognition.cosine_kernel import CosineKernel, with_target
from bridges.recognition.head_options import (
    RevivedSphereFaceOptions,
    SphereFaceOptions,
)
from bridges.recognition.heads import HeadOutput
from bridges.recognition.margin_heads import MarginHead, angle_of, falling_cosine


class SphereFaceHead(CosineKernel):
    """A-Softmax (Liu et al., CVPR 2017), with the annealing that makes it converge.

    Logits are :math:`\\|z\\| \\cos\\theta_j`; for the target, the cosine becomes
    :math:`(\\lambda \\cos\\theta + \\psi(m \\theta)) / (1 + \\lambda)`. The norm of the
    feature takes the place of a scale. :math:`\\lambda` falls with the steps.

    Attributes:
      num_updates: how many batches it was trained on.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        options: SphereFaceOptions | None = None,
    ) -> None:
        super().__init__(embedding_size, num_classes)
        self.options = options or SphereFaceOptions()
        self.register_buffer("num_updates", torch.tensor(0))

    def forward(
        self, features: torch.Tensor, labels: torch.Tensor, progress: float = 1.0
    ) -> HeadOutput:
        """Logits of a batch, see :class:`bridges.recognition.heads.Head`."""
        del progress
        cosines, norms = self.cosines(features)
        cosine = cosines.gather(1, labels[:, None])
        psi = falling_cosine(self.options.angle_factor * angle_of(cosine))
        weight = self._weight_of_the_cosine()
        target = (weight * cosine + psi) / (1 + weight)
        return HeadOutput(
            norms * with_target(cosines, labels, target), cosines.detach()
        )

    def _weight_of_the_cosine(self) -> torch.Tensor:
        options = self.options
        # A tensor: reading the number would wait for the device.
        falling = options.lambda_start / (1 + options.lambda_decay * self.num_updates)
        if self.training:
            self.num_updates += 1
        return falling.clamp(min=options.lambda_min)


class RevivedSphereFaceHead(MarginHead):
    """SphereFace-R (Liu et al., TPAMI 2022): a scale instead of the norm, no annealing.

    Its characteristic gradient detachment: the margin's difference to the plain cosine
    is a constant to the gradient, which is so that of a softmax at logits with margin.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        options: RevivedSphereFaceOptions | None = None,
    ) -> None:
        options = options or RevivedSphereFaceOptions()
        super().__init__(
            embedding_size,
            num_classes,
            scale=options.scale,
            angle_factor=options.angle_factor,
            margin_warmup=options.margin_warmup,
        )

    def target(self, cosine: torch.Tensor, progress: float) -> torch.Tensor:
        plain = cosine.detach()
        return cosine + (super().target(plain, progress) - plain)
