"""What margin heads share: a direction for each class, and the cosines to it."""

import torch
from torch import nn

# AdaFace's floor of a norm. A zero row has no direction: without a floor it would be
# NaN, with a very small one its gradient would drown that of all others.
_SMALLEST_NORM = 1e-3


class CosineKernel(nn.Module):
    """A direction for each class.

    Attributes:
      kernel: ``[embedding_size, num_classes]``, a column for each class, of any length.
    """

    def __init__(self, embedding_size: int, num_classes: int) -> None:
        """Draws unit columns from torch's global generator.

        Args:
          embedding_size: length of the backbone's output.
          num_classes: number of identities.
        """
        super().__init__()
        kernel = torch.empty(embedding_size, num_classes).uniform_(-1, 1)
        self.kernel = nn.Parameter(nn.functional.normalize(kernel, dim=0))

    def cosines(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines between features and classes, and the features' norms.

        Args:
          features: ``[n, embedding_size]``, of any length; zero rows have cosine 0.

        Returns:
          ``[n, num_classes]`` in about [-1, 1], and ``[n, 1]``; float32 at least, since
          half the precision knows no cosine between 0.996 and 1.
        """
        features, kernel = at_least_float32(features), at_least_float32(self.kernel)
        norms = torch.linalg.vector_norm(features, dim=1, keepdim=True)
        directions = features / norms.clamp(min=_SMALLEST_NORM)
        return directions @ nn.functional.normalize(kernel, dim=0), norms


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """``x`` in float32, or as it is in float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def grown(value: float, start: float, warmup: float, progress: float) -> float:
    """``value``, reached linearly from ``start`` when ``progress`` is ``warmup``."""
    share = min(1.0, progress / warmup) if warmup else 1.0
    return start + share * (value - start)


def with_target(
    cosines: torch.Tensor, labels: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """A copy of ``cosines`` with ``target`` ``[n, 1]`` at each row's own class."""
    return cosines.scatter(1, labels[:, None], target)
