"""The AdaFace head: a margin on the angle between embedding and class."""

import torch
from torch import nn

from bridges.recognition.heads import AdaFaceOptions, HeadOutput

# Away from ±1 the arc cosine has a finite slope.
_EPSILON = 1e-3
_NORM_RANGE = (1e-3, 100.0)
# Weight of a new batch in the running statistics.
_MOMENTUM = 0.01


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
        super().__init__()
        self.options = options or AdaFaceOptions()
        kernel = torch.empty(embedding_size, num_classes).uniform_(-1, 1)
        self.kernel = nn.Parameter(nn.functional.normalize(kernel, dim=0))
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
        norms = torch.linalg.vector_norm(features, dim=1, keepdim=True)
        cosines = (features / norms) @ nn.functional.normalize(self.kernel, dim=0)
        cosines = cosines.clamp(-1 + _EPSILON, 1 - _EPSILON)
        quality = self._quality(norms.detach().clamp(*_NORM_RANGE))
        margin = self._margin_at(progress)
        target = cosines.gather(1, labels[:, None])
        angle = torch.acos(target) - margin * quality
        angle = angle.clamp(_EPSILON, torch.pi - _EPSILON)
        target = torch.cos(angle) - margin * (1 + quality)
        logits = cosines.scatter(1, labels[:, None], target)
        return HeadOutput(self.options.scale * logits, cosines.detach())

    def _margin_at(self, progress: float) -> float:
        warmup = self.options.margin_warmup
        return self.options.margin * (min(1.0, progress / warmup) if warmup else 1.0)

    @torch.no_grad()
    def _quality(self, norms: torch.Tensor) -> torch.Tensor:
        if self.training and len(norms) > 1:
            self.num_updates += 1
            weight = _MOMENTUM
            if self.options.warm_start:
                # A tensor: reading the number would wait for the device.
                weight = (1 / self.num_updates).clamp(min=_MOMENTUM)
            self.batch_mean.lerp_(norms.mean(), weight)
            self.batch_std.lerp_(norms.std(), weight)
        deviation = (norms - self.batch_mean) / (self.batch_std + _EPSILON)
        return (self.options.concentration * deviation).clamp(-1, 1)
