"""Backbones by name, with fresh weights."""

from bridges.recognition.adaface_ir import AdaFaceIR
from bridges.recognition.architectures import (
    ADAFACE_DEPTHS,
    ALIASES,
    ARCHITECTURES,
    BACKBONES,
)
from bridges.recognition.iresnet import TOTAL_STRIDE, IResNet
from hyperface_jax import InputError, checks


def build_backbone(
    name: str, *, image_size: int = 112, embedding_size: int = 512
) -> IResNet | AdaFaceIR:
    """Builds a backbone with fresh weights, drawn from torch's global generator.

    Args:
      name: one of ``architectures.BACKBONES``: insightface's, AdaFace's (``ir_…``),
        and a small one. ``ir_100`` is another name of ``ir_101``.
      image_size: side of its input in pixels, a multiple of 16.
      embedding_size: length of its output.

    Examples:
      >>> from bridges import build_backbone
      >>> network = build_backbone("iresnet50")
      >>> sum(parameter.numel() for parameter in network.parameters())
      43590848
      >>> network = build_backbone("ir_50")
      >>> sum(parameter.numel() for parameter in network.parameters())
      43585600

    Raises:
      InputError: an unknown name or an impossible size.
    """
    checks.one_of(name, "backbone", BACKBONES)
    name = ALIASES.get(name, name)
    checks.whole_number(image_size, "image_size", 1, 2**16)
    if image_size % TOTAL_STRIDE:
        raise InputError(
            f"image_size {image_size} is not a positive multiple of {TOTAL_STRIDE}, "
            "the factor by which a backbone reduces the resolution"
        )
    checks.whole_number(embedding_size, "embedding_size", 2, 2**16)
    if name in ADAFACE_DEPTHS:
        return AdaFaceIR(ADAFACE_DEPTHS[name], image_size, embedding_size)
    return IResNet(ARCHITECTURES[name], image_size, embedding_size)
