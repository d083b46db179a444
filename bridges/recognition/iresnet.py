"""Improved residual networks for face recognition (iResNet).

The layout and the parameter names of ``iresnet18`` … ``iresnet100`` are those of
insightface's ``arcface_torch``, so that its weights load as they are. A block is
batch norm, convolution, batch norm, PReLU, convolution, batch norm (Duta et al.,
"Improved residual networks", 2020; Deng et al., "ArcFace", 2019).

Convolutions start at N(0, 0.1), as there. Each stage then multiplies the scale of what
it is given, which batch statistics take back in training; in evaluation running
statistics of 0 and 1 would not, and beyond 34 layers float32 overflows. So the running
statistics start where the weights lead (:mod:`bridges.recognition.untrained`).
"""

import torch
from torch import nn

from bridges.recognition import untrained
from bridges.recognition.architectures import Architecture
from bridges.recognition.demographic_attention import DemographicAttention, run_stages

TOTAL_STRIDE = 16


class Block(nn.Module):
    """A pre-normalised residual block."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, light: bool
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if light else (1, stride)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = _convolution(in_channels, out_channels, 3, first)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.prelu = nn.PReLU(out_channels)
        self.conv2 = _convolution(out_channels, out_channels, 3, second)
        self.bn3 = nn.BatchNorm2d(out_channels)
        if stride == 1 and in_channels == out_channels:
            self.downsample = nn.Identity()
        elif light:
            self.downsample = nn.Sequential(
                nn.AvgPool2d(stride),
                _convolution(in_channels, out_channels, 1, 1),
                nn.BatchNorm2d(out_channels),
            )
        else:
            self.downsample = nn.Sequential(
                _convolution(in_channels, out_channels, 1, stride),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(out)) + self.downsample(x)


class IResNet(nn.Module):
    """Maps ``[n, 3, s, s]`` RGB in [-1, 1] to ``[n, embedding_size]``.

    The output is not normalised: its length says how sure the network is of a face,
    and AdaFace reads it. Divide each row by its norm for an embedding.
    """

    def __init__(
        self, architecture: Architecture, image_size: int, embedding_size: int
    ) -> None:
        super().__init__()
        self.stage_widths = architecture.widths
        self.attention: DemographicAttention | None = None
        channels = architecture.widths[0]
        self.conv1 = _convolution(3, channels, 3, architecture.stem_stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU(channels)
        for stage in range(4):
            width = architecture.widths[stage]
            blocks = []
            for i in range(architecture.depths[stage]):
                stride = architecture.strides[stage] if i == 0 else 1
                blocks.append(Block(channels, width, stride, light=architecture.light))
                channels = width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.bn2 = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(
            channels * (image_size // TOTAL_STRIDE) ** 2, embedding_size
        )
        self.features = nn.BatchNorm1d(embedding_size)
        # A free scale would make the margin loss's own scale meaningless.
        self.features.weight.requires_grad = False
        if not architecture.light:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.normal_(module.weight, 0.0, 0.1)
            self._start_statistics()

    def feature_maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The stem's output and each non-empty stage's, finest first."""
        stem = self.prelu(self.bn1(self.conv1(x)))
        stages = (self.layer1, self.layer2, self.layer3, self.layer4)
        return [stem, *run_stages(stem, stages, self.attention)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.feature_maps(x)[-1])
        return self.features(self.fc(torch.flatten(out, 1)))

    def _start_statistics(self) -> None:
        untrained.start_after(self.conv1, self.bn1, untrained.PIXELS)
        stream = untrained.ACTIVATED
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in layer:
                block.bn1.running_var.fill_(stream)
                untrained.start_after(block.conv1, block.bn2, 1.0)
                untrained.start_after(block.conv2, block.bn3, untrained.ACTIVATED)
                if isinstance(block.downsample, nn.Sequential):
                    untrained.start_after(*block.downsample, stream)
                    stream = 1.0
                stream += 1.0
        self.bn2.running_var.fill_(stream)


def _convolution(
    in_channels: int, out_channels: int, kernel_size: int, stride: int
) -> nn.Conv2d:
    padding = kernel_size // 2
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, padding, bias=False
    )
