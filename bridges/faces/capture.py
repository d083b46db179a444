"""Captures: pose, light, expression and all else that differs between photographs."""

import dataclasses

import numpy as np

# Weights of expression targets (action units). Each is a pair of a left and a right
# target, except those in ``_ONE_SIDED``.
EXPRESSIONS: dict[str, dict[str, float]] = {
    "neutral": {},
    "smile": {"mouthSmile": 0.7, "cheekSquint": 0.4, "eyeSquint": 0.15},
    "grin": {
        "mouthSmile": 0.8,
        "jawOpen": 0.12,
        "mouthUpperUp": 0.35,
        "cheekSquint": 0.5,
        "eyeSquint": 0.3,
    },
    "laugh": {"mouthSmile": 0.75, "jawOpen": 0.3, "eyeSquint": 0.45},
    "surprise": {
        "jawOpen": 0.35,
        "browInnerUp": 0.8,
        "browOuterUp": 0.8,
        "eyeWide": 0.6,
    },
    "frown": {"browDown": 0.85, "mouthFrown": 0.6, "eyeSquint": 0.2},
    "sad": {"browInnerUp": 0.8, "mouthFrown": 0.6},
    "pucker": {"mouthPucker": 0.7},
    "press": {"mouthPress": 0.6, "mouthDimple": 0.4},
    "squint": {"eyeSquint": 0.8, "eyeBlink": 0.25},
    "talk": {"jawOpen": 0.16, "mouthFunnel": 0.25},
}
_EXPRESSION_SHARES = (0.36, 0.17, 0.12, 0.06, 0.04, 0.06, 0.05, 0.03, 0.04, 0.03, 0.04)
_ONE_SIDED = {"browInnerUp", "jawOpen", "mouthFunnel", "mouthPucker"}


@dataclasses.dataclass(frozen=True)
class Capture:
    """The conditions of one photograph.

    Attributes:
      age: age of the person in this image, years.
      yaw, pitch, roll: pose in degrees; positive yaw turns the face to its left.
      expression: one of ``EXPRESSIONS``; ``expression_strength`` scales it.
      gaze: ``[2]``, right and up, radians.
      light: unit vector towards the key light, in camera coordinates.
      key, fill: intensity of the key light and of the sky.
      light_colour: ``[3]`` linear RGB of the key light.
      exposure: factor on the whole image.
      distance: from the camera to the head, decimetres.
      background: ``[2, 3]`` linear RGB, top and bottom.
      blobs: ``[k, 6]``: x, y, radius (in image widths) and RGB of soft lights.
      clothing: ``[3]`` linear RGB.
      noise: standard deviation of the sensor noise, as a fraction of full scale.
      noise_seed: seed of that noise.
    """

    age: float
    yaw: float
    pitch: float
    roll: float
    expression: str
    expression_strength: float
    gaze: tuple[float, float]
    light: np.ndarray
    key: float
    fill: float
    light_colour: np.ndarray
    exposure: float
    distance: float
    background: np.ndarray
    blobs: np.ndarray
    clothing: np.ndarray
    noise: float
    noise_seed: int


@dataclasses.dataclass(frozen=True)
class CaptureStyle:
    """The ranges that captures are drawn from.

    Attributes:
      yaw: lowest and highest ``|yaw|``, degrees; the sign is random.
      pitch: largest ``|pitch|``, degrees.
      age_spread: largest difference from the identity's age, years; three times as
        large for one photograph in six, as in an old album.
      ages: lowest and highest age, years; overrides ``age_spread``.
    """

    yaw: tuple[float, float] = (0.0, 60.0)
    pitch: float = 14.0
    age_spread: float = 6.0
    ages: tuple[float, float] | None = None


ANY = CaptureStyle()


def sample_capture(
    generator: np.random.Generator, age: float, style: CaptureStyle = ANY
) -> Capture:
    """Draws the capture of one photograph.

    Args:
      generator: the only source of randomness.
      age: the identity's age, years.
      style: the ranges to draw from.
    """
    uniform = generator.uniform
    low, high = style.yaw
    # The power favours small angles: the median is 0.29 of the range.
    yaw = (low + (high - low) * uniform() ** 1.8) * generator.choice([-1.0, 1.0])
    if style.ages is None:
        spread = style.age_spread * (3 if uniform() < 1 / 6 else 1)
        age = float(np.clip(age + uniform(-1, 1) * spread, 18, 75))
    else:
        age = float(uniform(*style.ages))
    expression = str(generator.choice(list(EXPRESSIONS), p=_EXPRESSION_SHARES))
    azimuth, elevation = uniform(-1.15, 1.15), uniform(-0.1, 0.9)
    light = np.array(
        [
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
            np.cos(azimuth) * np.cos(elevation),
        ]
    )
    warmth = 0.10 * generator.normal()
    return Capture(
        age=age,
        yaw=float(yaw),
        pitch=float(uniform(-style.pitch, style.pitch)),
        roll=float(3 * generator.normal()),
        expression=expression,
        expression_strength=float(uniform(0.55, 1.0)),
        gaze=(float(0.13 * generator.normal()), float(0.08 * generator.normal())),
        light=light,
        key=float(uniform(0.6, 1.25)),
        fill=float(uniform(0.45, 0.9)),
        light_colour=np.clip([1 + warmth, 1.0, 1 - warmth], 0.75, 1.25),
        exposure=float(np.exp(uniform(-0.25, 0.25))),
        distance=float(uniform(9, 20)),
        background=_muted_colours(generator, 2),
        blobs=_sample_blobs(generator),
        clothing=_muted_colours(generator, 1)[0],
        noise=float(uniform(0, 0.006)),
        noise_seed=int(generator.integers(1 << 31)),
    )


def expression_coefficients(name: str, strength: float) -> dict[str, float]:
    """Weights of the head model's expression targets.

    Args:
      name: a key of ``EXPRESSIONS``.
      strength: factor on its weights.
    """
    coefficients = {}
    for unit, weight in EXPRESSIONS[name].items():
        for side in ("",) if unit in _ONE_SIDED else ("Left", "Right"):
            coefficients[f"expression/{unit}{side}"] = weight * strength
    return coefficients


def _muted_colours(generator: np.random.Generator, count: int) -> np.ndarray:
    """Near-grey colours from dark to light, as in rooms and streets, ``[n, 3]``."""
    value = np.exp(generator.uniform(np.log(0.02), np.log(0.65)))
    tint = 1 + 0.22 * generator.normal(size=3)
    shade = np.exp(generator.uniform(-0.6, 0.6, (count, 1)))
    return np.clip(value * tint * shade, 0.005, 0.9)


def _sample_blobs(generator: np.random.Generator) -> np.ndarray:
    count = int(generator.integers(0, 4))
    place = generator.uniform(-0.1, 1.1, (count, 2))
    radius = generator.uniform(0.12, 0.4, (count, 1))
    colours = [_muted_colours(generator, 1) for _ in range(count)]
    colour = np.concatenate(colours) if count else np.zeros((0, 3))
    return np.concatenate([place, radius, colour], axis=1)
