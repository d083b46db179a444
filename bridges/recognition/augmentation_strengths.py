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
    """

    flip: float = 0.5
    shift: int = 2
    contrast: float = 0.2
    brightness: float = 0.1
    cast: float = 0.05
    noise: float = 0.03
    low_resolution: float = 0.0


AUGMENTATIONS = {
    "none": Augmentation(0, 0, 0, 0, 0, 0, 0),
    "standard": Augmentation(),
    "strong": Augmentation(
        shift=4, contrast=0.3, brightness=0.15, cast=0.08, low_resolution=0.2
    ),
}
