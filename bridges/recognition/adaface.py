"""The AdaFace head: a margin on the angle between embedding and class."""

import torch

from bridges.recognition.cosine_kernel import CosineKernel, grown, with_target
from bridges.recognition.head_options import AdaFaceOptions
from bridges.recognition.heads import HeadOutput
from bridges.training.torchrun import gathered

# Away from ±1 the arc cosine has a finite slope.
_EPSILON = 1e-3
_NORM_RANGE = (1e-3, 100.0)
# Weight of a new batch in the running statistics.
_MOMENTUM = 0.01


class AdaFaceHead(CosineKernel):
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
      options: ``m``, ``s``, ``h`` and the warm-ups.
      kernel: ``[embedding_size, num_classes]``, a column for each class.
      batch_mean: running mean of the norms.
      batch_std: running standard deviation of the norms (ddof = 1).
      num_updates: how many batches the two have seen.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        options: AdaFaceOptions | None = None,
    ) -> None:
        """Draws the kernel from torch's global generator.

        Args:
          embedding_size: length of the backbone's output.
          num_classes: number of identities.
          options: by default ``AdaFaceOptions()``.
        """
        super().__init__(embedding_size, num_classes)
        self.options = options or AdaFaceOptions()
        self.register_buffer("batch_mean", torch.tensor(20.0))
        self.register_buffer("batch_std", torch.tensor(100.0))
        self.register_buffer("num_updates", torch.tensor(0))

    def forward(
        self, features: torch.Tensor, labels: torch.Tensor, progress: float = 1.0
    ) -> HeadOutput:
        """Logits of a batch; in training mode the running statistics are updated.

        Args:
          features: ``[n, embedding_size]``, raw backbone outputs.
          labels: ``[n]`` int64 in ``0 … num_classes-1``.
          progress: fraction of the training that is done. The margin grows linearly
            from 0 until it is ``options.margin_warmup``.
        """
        cosines, norms = self.cosines(features)
        cosines = cosines.clamp(-1 + _EPSILON, 1 - _EPSILON)
        quality = self._quality(norms.detach().clamp(*_NORM_RANGE))
        options = self.options
        margin = grown(options.margin, 0.0, options.margin_warmup, progress)
        target = cosines.gather(1, labels[:, None])
        angle = torch.acos(target) - margin * quality
        angle = angle.clamp(_EPSILON, torch.pi - _EPSILON)
        target = torch.cos(angle) - margin * (1 + quality)
        logits = with_target(cosines, labels, target)
        return HeadOutput(options.scale * logits, cosines.detach())

    @torch.no_grad()
    def _quality(self, norms: torch.Tensor) -> torch.Tensor:
        every = gathered(norms) if self.training else norms
        if self.training and len(every) > 1:
            self.num_updates += 1
            weight = _MOMENTUM
            if self.options.warm_start:
                # A tensor: reading the number would wait for the device.
                weight = (1 / self.num_updates).clamp(min=_MOMENTUM)
            self.batch_mean.lerp_(every.mean(), weight)
            self.batch_std.lerp_(every.std(), weight)
        deviation = (norms - self.batch_mean) / (self.batch_std + _EPSILON)
        return (self.options.concentration * deviation).clamp(-1, 1)
