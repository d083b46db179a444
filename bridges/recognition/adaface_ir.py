"""The backbones of AdaFace: IR-18 to IR-101.

The layout and the names of the parameters are those of AdaFace's ``net.py``, so that
its weights, and HyperFace's, load as they are. Unlike insightface's, the shortcut of a
block that keeps its width drops pixels instead of convolving, and the output is
normalised without a scale or a shift. Running statistics start where the weights lead,
see :mod:`bridges.recognition.untrained`.
"""

import itertools

import torch
from torch import nn

from bridges.recognition import untrained
from bridges.recognition.demographic_attention import DemographicAttention, run_stages

_WIDTHS = (64, 128, 256, 512)
_TOTAL_STRIDE = 16
_DROPOUT = 0.4


class Block(nn.Module):
    """Batch norm, convolution, batch norm, PReLU, convolution, batch norm."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        if in_channels == out_channels:
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.PReLU(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class AdaFaceIR(nn.Module):
    """Maps ``[n, 3, s, s]`` in [-1, 1] to ``[n, embedding_size]``, not normalised.

    AdaFace's own weights take BGR; what is trained here takes RGB.
    """

    def __init__(
        self, depths: tuple[int, ...], image_size: int, embedding_size: int
    ) -> None:
        """Makes a network with fresh weights.

        Args:
          depths: blocks of the four stages.
          image_size: side of its input in pixels, a multiple of 16.
          embedding_size: length of its output.
        """
        super().__init__()
        self.stage_widths, self._depths = _WIDTHS, depths
        self.attention: DemographicAttention | None = None
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, _WIDTHS[0], 3, 1, 1, bias=False),
            nn.BatchNorm2d(_WIDTHS[0]),
            nn.PReLU(_WIDTHS[0]),
        )
        blocks, channels = [], _WIDTHS[0]
        for width, depth in zip(_WIDTHS, depths, strict=True):
            for i in range(depth):
                blocks.append(Block(channels, width, 2 if i == 0 else 1))
                channels = width
        self.body = nn.Sequential(*blocks)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Dropout(_DROPOUT),
            nn.Flatten(),
            nn.Linear(channels * (image_size // _TOTAL_STRIDE) ** 2, embedding_size),
            nn.BatchNorm1d(embedding_size, affine=False),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(
                    module.weight, mode="fan_out", nonlinearity="relu"
                )
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        self._start_statistics()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.input_layer(x)
        if self.attention is None:
            return self.output_layer(self.body(x))
        return self.output_layer(run_stages(x, self._stages(), self.attention)[-1])

    def _stages(self) -> list[nn.Sequential]:
        """The blocks of the body, stage by stage."""
        ends = list(itertools.accumulate(self._depths, initial=0))
        return [self.body[a:b] for a, b in itertools.pairwise(ends)]

    def _start_statistics(self) -> None:
        convolution, norm, _ = self.input_layer
        untrained.start_after(convolution, norm, untrained.PIXELS)
        stream = untrained.ACTIVATED
        for block in self.body:
            first, conv1, bn2, _, conv2, bn3 = block.res_layer
            first.running_var.fill_(stream)
            untrained.start_after(conv1, bn2, 1.0)
            untrained.start_after(conv2, bn3, untrained.ACTIVATED)
            if isinstance(block.shortcut_layer, nn.Sequential):
                untrained.start_after(*block.shortcut_layer, stream)
                stream = 1.0
            stream += 1.0
        self.output_layer[0].running_var.fill_(stream)
