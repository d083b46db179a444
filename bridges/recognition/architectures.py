"""The shapes of the backbones, by name; loads no torch."""

from typing import NamedTuple


class Architecture(NamedTuple):
    """Shape of an iResNet.

    Attributes:
      widths: channels of the four stages.
      depths: blocks of the four stages.
      strides: of the four stages' first blocks; with the stem they multiply to 16.
      stem_stride: stride of the first convolution.
      light: reduce the resolution in the first convolution of a block instead of the
        second, which halves the arithmetic of such blocks, and average before the
        shortcut's 1 x 1 convolution instead of dropping three pixels of four.
    """

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    strides: tuple[int, int, int, int] = (2, 2, 2, 2)
    stem_stride: int = 1
    light: bool = False


_WIDTHS = (64, 128, 256, 512)
ARCHITECTURES = {
    "iresnet_small": Architecture(
        (32, 64, 96, 192), (0, 1, 2, 1), (1, 2, 2, 2), stem_stride=2, light=True
    ),
    "iresnet18": Architecture(_WIDTHS, (2, 2, 2, 2)),
    "iresnet34": Architecture(_WIDTHS, (3, 4, 6, 3)),
    "iresnet50": Architecture(_WIDTHS, (3, 4, 14, 3)),
    "iresnet100": Architecture(_WIDTHS, (3, 13, 30, 3)),
    "iresnet200": Architecture(_WIDTHS, (6, 26, 60, 6)),
}
# Blocks of the four stages of AdaFace's backbones.
ADAFACE_DEPTHS = {
    "ir_18": (2, 2, 2, 2),
    "ir_34": (3, 4, 6, 3),
    "ir_50": (3, 4, 14, 3),
    "ir_101": (3, 13, 30, 3),
}
# Other names: AdaFace's paper has 100 layers where its code counts 101.
ALIASES = {"ir_100": "ir_101"}
BACKBONES = (*ARCHITECTURES, *ADAFACE_DEPTHS, *ALIASES)
