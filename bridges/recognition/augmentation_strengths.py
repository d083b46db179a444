"""How strongly images are varied in training, by name; loads no torch."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How strongly a batch is varied.

    Attributes:
      flip: probability of a mirror image.
      shift: largest displacement in pixels along each axis, the border repeated.
      contrast: standard deviation of the factor on the grey values.
      brightness: standard deviation of the offset; grey values span [-1, 1].
      cast: standard deviation of an offset per colour.
      noise: largest standard deviation of pixel noise.
      low_resolution: probability that an image is reduced and enlarged again.
      crop: probability that all but a rectangle is blackened, as AdaFace does.
      resample: probability of AdaFace's reducing and enlarging.
      jitter: probability of AdaFace's change of brightness, contrast and saturation.
    """

    flip: float = 0.5
    shift: int = 2
    contrast: float = 0.2
    brightness: float = 0.1
    cast: float = 0.05
    noise: float = 0.03
    low_resolution: float = 0.0
    crop: float = 0.0
    resample: float = 0.0
    jitter: float = 0.0


_NONE = Augmentation(0, 0, 0, 0, 0, 0, 0)
AUGMENTATIONS = {
    "none": _NONE,
    # insightface's.
    "flip": dataclasses.replace(_NONE, flip=0.5),
    "adaface": dataclasses.replace(_NONE, flip=0.5, crop=0.2, resample=0.2, jitter=0.2),
    "standard": Augmentation(),
    "strong": Augmentation(
        shift=4, contrast=0.3, brightness=0.15, cast=0.08, low_resolution=0.2
    ),
}
