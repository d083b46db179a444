"""The options of the heads, with the defaults of the literature; loads no torch.

A margin is added to an angle (ArcFace), taken from a cosine (CosFace) or multiplies an
angle (SphereFace): the combined margin has all three,
:math:`\\cos(m_1 \\theta + m_2) - m_3`.
"""

import dataclasses
from typing import Any

from bridges.settings_checks import check_settings

_RANGES = {
    "margin": (0, 1.5),
    "scale": (1e-3, 1e4),
    "concentration": (0, 1e3),
    "margin_warmup": (0, 1),
    "angle_factor": (1, 8),
    "angle_margin": (0, 1.5),
    "cosine_margin": (0, 1.5),
    "lambda_start": (0, 1e9),
    "lambda_decay": (0, 1e9),
    "lambda_min": (0, 1e9),
}


def _option(default: Any, description: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": description})


def _scale(default: float) -> float:
    return _option(default, "scale of the head, the inverse temperature of its softmax")


def _margin(default: float) -> float:
    return _option(default, "margin of the head")


def _margin_warmup(default: float) -> float:
    return _option(
        default, "fraction of the training over which the margin grows from 0"
    )


def _angle_factor(default: float) -> float:
    return _option(default, "what multiplies the angle to the own class")


class _Checked:
    def __post_init__(self) -> None:
        check_settings(self, _RANGES)


@dataclasses.dataclass(frozen=True)
class AdaFaceOptions(_Checked):
    """Options of :class:`bridges.recognition.adaface.AdaFaceHead`.

    Attributes:
      margin: ``m``, in radians for the angle and in cosine for the offset, 0 to 1.5.
      scale: ``s``, the inverse temperature of the softmax.
      concentration: ``h``, the slope of the quality in standard deviations of the norm.
      warm_start: start the norm statistics from the first batches. As published they
        start at 20 and 100, and with a momentum of 0.01 it takes some 460 steps until
        the standard deviation has come down from 100 and the margin starts to adapt:
        longer than a short training.
      margin_warmup: fraction of the training over which the margin grows from 0.
    """

    margin: float = _margin(0.4)
    scale: float = _scale(32.0)
    concentration: float = _option(0.333, "AdaFace's h")
    warm_start: bool = _option(
        True, "start AdaFace's norm statistics from the first batches"
    )
    margin_warmup: float = _margin_warmup(0.3)


@dataclasses.dataclass(frozen=True)
class ArcFaceOptions(_Checked):
    """Options of ArcFace, :math:`\\cos(\\theta + m)` (Deng et al., CVPR 2019).

    Attributes:
      margin: ``m`` in radians; 0.5 in the paper and in insightface.
      scale: ``s``; 64 there.
      margin_warmup: fraction of the training over which the margin grows from 0.
    """

    margin: float = _margin(0.5)
    scale: float = _scale(64.0)
    margin_warmup: float = _margin_warmup(0.0)


@dataclasses.dataclass(frozen=True)
class CosFaceOptions(_Checked):
    """Options of CosFace, :math:`\\cos\\theta - m` (Wang et al., CVPR 2018).

    Attributes:
      margin: ``m`` in cosine; 0.4 in insightface and AdaFace's code, 0.35 in the paper.
      scale: ``s``; 64 in all of them.
      margin_warmup: fraction of the training over which the margin grows from 0.
    """

    margin: float = _margin(0.4)
    scale: float = _scale(64.0)
    margin_warmup: float = _margin_warmup(0.0)


@dataclasses.dataclass(frozen=True)
class CombinedOptions(_Checked):
    """Options of the combined margin (Deng et al., 2019, equation 4).

    Attributes:
      angle_factor: ``m1``, 1 to 8.
      angle_margin: ``m2`` in radians. 1, 0.3, 0.2 are insightface's sample settings for
        the three. All of them count here; in its torch code any ``m3`` above 0 leaves
        ``m2`` out.
      cosine_margin: ``m3`` in cosine.
      scale: ``s``.
      margin_warmup: fraction of the training over which all three grow from none.
    """

    angle_factor: float = _angle_factor(1.0)
    angle_margin: float = _option(0.3, "what is added to the angle, in radians")
    cosine_margin: float = _option(0.2, "what is taken from the cosine")
    scale: float = _scale(64.0)
    margin_warmup: float = _margin_warmup(0.0)


@dataclasses.dataclass(frozen=True)
class SphereFaceOptions(_Checked):
    """Options of SphereFace's A-Softmax (Liu et al., CVPR 2017).

    Attributes:
      angle_factor: ``m``; 4 in the paper.
      lambda_start: the plain cosine's weight beside the margin's at the first step; it
        is ``max(lambda_min, lambda_start / (1 + lambda_decay * step))``. 1500, 0.1 and
        5 are those of the public implementations.
      lambda_decay: how fast it falls.
      lambda_min: where it stops.
    """

    angle_factor: float = _angle_factor(4.0)
    lambda_start: float = _option(
        1500.0, "weight of the plain cosine beside the margin's at the first step"
    )
    lambda_decay: float = _option(0.1, "how fast that weight falls with the steps")
    lambda_min: float = _option(5.0, "where that weight stops falling")


@dataclasses.dataclass(frozen=True)
class RevivedSphereFaceOptions(_Checked):
    """Options of SphereFace revived (Liu et al., TPAMI 2022).

    Attributes:
      angle_factor: ``m``; 1.7 in the authors' code.
      scale: ``s``; 30 there.
      margin_warmup: fraction of the training over which the factor grows from 1.
    """

    angle_factor: float = _angle_factor(1.7)
    scale: float = _scale(30.0)
    margin_warmup: float = _margin_warmup(0.0)


@dataclasses.dataclass(frozen=True)
class SoftmaxOptions(_Checked):
    """The plain softmax, a linear layer with a bias, has no options."""
