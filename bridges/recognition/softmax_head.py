"""The plain softmax: a linear layer with a bias, and no margin."""

import torch
from torch import nn

from bridges.recognition.cosine_kernel import CosineKernel, at_least_float32
from bridges.recognition.head_options import SoftmaxOptions
from bridges.recognition.heads import HeadOutput


class SoftmaxHead(CosineKernel):
    """Logits :math:`W^\\top z + b`: what the margins are compared with.

    Attributes:
      kernel: ``[embedding_size, num_classes]``.
      bias: ``[num_classes]``.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        options: SoftmaxOptions | None = None,
    ) -> None:
        del options
        super().__init__(embedding_size, num_classes)
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def forward(
        self, features: torch.Tensor, labels: torch.Tensor, progress: float = 1.0
    ) -> HeadOutput:
        """Logits of a batch, see :class:`bridges.recognition.heads.Head`.

        The accuracy counts an image for the class with the largest logit.
        """
        del labels, progress
        logits = at_least_float32(features) @ at_least_float32(self.kernel)
        logits = logits + self.bias
        return HeadOutput(logits, logits.detach())
