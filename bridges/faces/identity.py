"""Identities: everything about a face that all photographs of a person share."""

import colorsys
import dataclasses

import numpy as np

from bridges.faces.head_model import HeadModel

# Monk skin tone scale, tones 1-10 in sRGB (Monk, 2019; public colour values).
_MONK_SRGB = (
    np.array(
        [
            [246, 237, 228],
            [243, 231, 219],
            [247, 234, 208],
            [234, 218, 186],
            [215, 189, 150],
            [160, 126, 86],
            [130, 92, 67],
            [96, 65, 52],
            [58, 49, 42],
            [41, 36, 32],
        ]
    )
    / 255
)
# Albedos measured from photographs are redder and darker than the swatches.
_SKIN_LINEAR = np.clip(_MONK_SRGB**2.2 * [0.78, 0.56, 0.50], 0.012, 1)
_HAIR_LINEAR = np.array(
    [
        [0.012, 0.010, 0.009],  # black
        [0.030, 0.019, 0.013],  # dark brown
        [0.075, 0.042, 0.024],  # brown
        [0.170, 0.100, 0.052],  # light brown
        [0.420, 0.290, 0.150],  # blond
        [0.250, 0.085, 0.030],  # red
    ]
)
_GREY_LINEAR = np.array([0.46, 0.45, 0.43])
_IRIS_LINEAR = np.array(
    [
        [0.050, 0.024, 0.012],  # dark brown
        [0.120, 0.062, 0.026],  # brown
        [0.160, 0.120, 0.045],  # hazel
        [0.110, 0.170, 0.080],  # green
        [0.100, 0.190, 0.300],  # blue
        [0.210, 0.250, 0.280],  # grey
    ]
)
ETHNICITIES = ("african", "asian", "caucasian")
HAIR_STYLES = ("shaved", "crop", "short", "full", "curly", "tied", "bob", "long")
_STYLE_SHARES = {
    "male": (0.10, 0.26, 0.36, 0.14, 0.09, 0.0, 0.0, 0.05),
    "female": (0.01, 0.02, 0.10, 0.08, 0.12, 0.22, 0.21, 0.24),
}
# Standard deviation of shape sliders, in units of the slider. Above about 0.35 faces
# turn into caricatures; below about 0.2 different people look alike.
_SHAPE_SPREAD = 0.27
_OPPOSITES = (
    ("-incr", "-decr"),
    ("-up", "-down"),
    ("-out", "-in"),
    ("-forward", "-backward"),
    ("-convex", "-concave"),
    ("-uncompress", "-compress"),
    ("-round", "-square"),
    ("-triangle", "-pointed"),
)
# Factors on sliders that move the head rather than shape it, or that break the mesh
# when large.
_GENTLE = {
    "head-trans": 0.0,
    "neck-trans": 0.0,
    "mouth-trans-out": 0.15,
    "nose-trans-out": 0.15,
    "head-age": 0.0,
    "head-fat": 0.5,
    "head-angle": 0.5,
    "head-scale-vert": 0.6,
    "head-back": 0.5,
    "neck-double": 0.3,
    "ear-": 0.7,
    "eye-trans": 0.8,
    "eye-push": 0.5,
    "mouth-laugh-lines": 0.5,
}
_HEAD_FORMS = (
    "oval",
    "round",
    "square",
    "rectangular",
    "triangular",
    "invertedtriangular",
    "diamond",
)


@dataclasses.dataclass(frozen=True)
class Identity:
    """A person of the face world.

    Attributes:
      gender: 0 (female) to 1 (male); nearly always close to one of these.
      ethnicity: weights of African, Asian and Caucasian features, summing to 1.
      age: years; photographs are taken around this age.
      muscle, weight: body build, 0 to 1.
      shape: weights of the head model's shape targets by name.
      skin, lip, iris: albedo, ``[3]`` linear RGB.
      hair: albedo of the hair before it greys, ``[3]`` linear RGB.
      hair_style: one of ``HAIR_STYLES``.
      traits: named scalars of the skin, brows, beard and hairline (see
        :func:`_sample_traits`).
      moles: ``[k, 4]``: x, y, radius (decimetres) and strength.
      texture_seed: seed of the skin texture.
    """

    gender: float
    ethnicity: tuple[float, float, float]
    age: float
    muscle: float
    weight: float
    shape: dict[str, float]
    skin: np.ndarray
    lip: np.ndarray
    iris: np.ndarray
    hair: np.ndarray
    hair_style: str
    traits: dict[str, float]
    moles: np.ndarray
    texture_seed: int

    @property
    def male(self) -> bool:
        """Whether brows, beard and hair follow the male distributions."""
        return self.gender > 0.5

    @property
    def group(self) -> str:
        """The demographic group: the ethnicity of largest weight, and the gender."""
        ethnicity = ETHNICITIES[int(np.argmax(self.ethnicity))]
        return f"{ethnicity} {'male' if self.male else 'female'}"


def sample_identity(model: HeadModel, generator: np.random.Generator) -> Identity:
    """Draws a person.

    Args:
      model: the head model that has the sliders.
      generator: the only source of randomness.
    """
    ethnicity = generator.dirichlet([0.4, 0.4, 0.4])
    gender = float(
        np.clip(generator.choice([0.04, 0.96]) + 0.06 * generator.normal(), 0, 1)
    )
    male = gender > 0.5
    tone = ethnicity @ [
        generator.normal(7.1, 0.8),
        generator.normal(3.9, 0.6),
        generator.normal(2.6, 0.9),
    ]
    skin = _between(_SKIN_LINEAR, np.clip(tone, 0.5, 8.7))
    skin = skin * np.clip(1 + 0.05 * generator.normal(size=3), 0.85, 1.15)
    age = float(np.clip(18 + 47 * generator.beta(1.3, 1.8), 18, 65))
    shares = _STYLE_SHARES["male" if male else "female"]
    return Identity(
        gender=gender,
        ethnicity=tuple(float(w) for w in ethnicity),
        age=age,
        muscle=float(generator.uniform(0.35, 0.75)),
        weight=float(generator.uniform(0.25, 0.8)),
        shape=_sample_shape(model, generator),
        skin=skin.astype(np.float32),
        lip=_lip_colour(skin, male, generator),
        iris=_iris_colour(ethnicity, generator),
        hair=_hair_colour(ethnicity, generator),
        hair_style=str(generator.choice(HAIR_STYLES, p=shares)),
        traits=_sample_traits(male, ethnicity, generator),
        moles=_sample_moles(generator),
        texture_seed=int(generator.integers(1 << 31)),
    )


def macro_coefficients(identity: Identity, age: float) -> dict[str, float]:
    """Weights of the macro targets for a person at ``age`` years.

    MakeHuman's age scale is linear from "young" at 25 to "old" at 90 years.
    """
    old = float(np.clip((age - 25) / 65, 0, 1))
    ages = {"young": 1 - old, "old": old}
    genders = {"female": 1 - identity.gender, "male": identity.gender}
    muscles = _three_way(identity.muscle, "muscle")
    weights = _three_way(identity.weight, "weight")
    coefficients = {}
    for gender, g in genders.items():
        for name, a in ages.items():
            for ethnicity, e in zip(ETHNICITIES, identity.ethnicity, strict=True):
                coefficients[f"macro/{ethnicity}-{gender}-{name}"] = g * a * e
            for muscle, m in muscles.items():
                for weight, w in weights.items():
                    if muscle == "averagemuscle" and weight == "averageweight":
                        continue  # The middle of both scales has no target.
                    target = f"macro/universal-{gender}-{name}-{muscle}-{weight}"
                    coefficients[target] = g * a * m * w
    coefficients["shape/head-age-incr"] = float(np.clip((age - 40) / 45, 0, 0.8))
    return coefficients


def greyness(identity: Identity, age: float) -> float:
    """Share of grey hair at ``age`` years, 0 to 1."""
    onset = identity.traits["grey_onset"]
    return float(np.clip((age - onset) / 22, 0, 1))


def hair_colour(identity: Identity, age: float) -> np.ndarray:
    """Albedo of the hair at ``age`` years, ``[3]`` linear RGB."""
    grey = greyness(identity, age)
    return (identity.hair * (1 - grey) + _GREY_LINEAR * grey).astype(np.float32)


def _sample_shape(model: HeadModel, generator: np.random.Generator) -> dict[str, float]:
    """Shape weights: a normal draw per slider, nearly equal on the left and right."""
    shape: dict[str, float] = {}
    symmetric: dict[str, float] = {}
    for up, down in _slider_pairs(model):
        side_free = up.replace("/l-", "/").replace("/r-", "/")
        if side_free not in symmetric:
            value = np.clip(generator.normal(), -2.2, 2.2) * _SHAPE_SPREAD
            symmetric[side_free] = float(value * _gentleness(up))
        value = symmetric[side_free]
        if side_free != up:
            value += 0.03 * generator.normal()
        if value:
            shape[up if value > 0 else down] = abs(float(value))
    for name in model.target_names:
        if name.startswith("shape/asym-"):
            shape[name] = float(max(0, 0.08 * generator.normal()))
    form = _HEAD_FORMS[generator.integers(len(_HEAD_FORMS))]
    shape[f"shape/head-{form}"] = float(generator.uniform(0, 0.55))
    return shape


def _slider_pairs(model: HeadModel) -> list[tuple[str, str]]:
    names = set(model.target_names)
    pairs = []
    for name in model.target_names:
        for up, down in _OPPOSITES:
            if name.startswith("shape/") and name.endswith(up):
                other = name.removesuffix(up) + down
                if other in names:
                    pairs.append((name, other))
    return pairs


def _gentleness(name: str) -> float:
    return min([scale for part, scale in _GENTLE.items() if part in name], default=1.0)


def _sample_traits(
    male: bool, ethnicity: np.ndarray, generator: np.random.Generator
) -> dict[str, float]:
    """Scalars of skin, brows, beard and hairline; lengths in decimetres."""
    uniform = generator.uniform
    beard = 0.0
    if male:
        kind = generator.choice(3, p=[0.55, 0.27, 0.18])
        beard = (0.0, uniform(0.12, 0.4), uniform(0.65, 0.95))[kind]
    freckled = ethnicity[2] > 0.5 and generator.random() < 0.22
    return {
        "beard": float(beard),
        "beard_extent": float(uniform()),
        "blush": float(uniform(0.05, 0.35)),
        "brow_arch": float(uniform(-0.012, 0.028) + (0.0 if male else 0.012)),
        "brow_density": float(uniform(0.55, 0.95)),
        "brow_height": float(uniform(-0.02, 0.025)),
        "brow_inner": float(uniform(0.105, 0.15)),
        "brow_outer": float(uniform(0.46, 0.55)),
        "brow_slope": float(uniform(-0.045, 0.045)),
        "brow_thickness": float(uniform(0.034, 0.052) * (1.2 if male else 0.72)),
        "eye_bags": float(uniform(0, 0.35)),
        "freckles": float(uniform(0.25, 0.6)) if freckled else 0.0,
        "grey_onset": float(uniform(34, 62)),
        "hair_volume": float(uniform(0.6, 1.3)),
        "hair_length": float(uniform(0, 1)),
        "hairline": float(uniform(-0.05, 0.09)),
        "hairline_peak": float(uniform(-0.03, 0.07)),
        "hairline_width": float(uniform(-0.12, 0.14)),
        "fringe": float(uniform(0.1, 0.36)) if generator.random() < 0.25 else 0.0,
        "lash": float(uniform(0.25, 0.5) if male else uniform(0.6, 1.0)),
        "lip_strength": float(uniform(0.3, 0.6) if male else uniform(0.55, 0.95)),
        "mottle": float(uniform(0.5, 1.3)),
        "recession": float(max(0.0, generator.normal(0.3, 0.5))) if male else 0.0,
        "shine": float(uniform(0.6, 1.3)),
    }


def _sample_moles(generator: np.random.Generator) -> np.ndarray:
    count = min(int(generator.poisson(1.2)), 5)
    return np.stack(
        [
            generator.uniform(-0.7, 0.7, count),
            generator.uniform(6.25, 7.9, count),
            generator.uniform(0.012, 0.024, count),
            generator.uniform(0.35, 0.8, count),
        ],
        axis=1,
    ).astype(np.float32)


def _lip_colour(
    skin: np.ndarray, male: bool, generator: np.random.Generator
) -> np.ndarray:
    tint = np.array([0.86, 0.50, 0.50]) if male else np.array([0.88, 0.42, 0.44])
    colour = skin * tint * generator.uniform(0.8, 1.05)
    if not male and generator.random() < 0.4:  # lipstick
        hue, strength = generator.uniform(-0.03, 0.03) % 1, generator.uniform(0.5, 0.85)
        stick = colorsys.hsv_to_rgb(hue, strength, generator.uniform(0.25, 0.5))
        colour = 0.45 * colour + 0.55 * np.array(stick)
    return colour.astype(np.float32)


def _iris_colour(ethnicity: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    light = np.array([0.8, 1.0, 0.6, 0.45, 0.8, 0.4])
    dark = np.array([3.0, 1.2, 0.12, 0.03, 0.02, 0.0])
    shares = light if ethnicity[2] > 0.55 else dark
    colour = _IRIS_LINEAR[generator.choice(6, p=shares / shares.sum())]
    return (colour * generator.uniform(0.8, 1.25)).astype(np.float32)


def _hair_colour(ethnicity: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    light = np.array([0.5, 1.0, 1.0, 0.7, 0.6, 0.25])
    dark = np.array([2.2, 1.0, 0.18, 0.03, 0.02, 0.01])
    shares = light if ethnicity[2] > 0.5 else dark
    colour = _HAIR_LINEAR[generator.choice(6, p=shares / shares.sum())]
    return (colour * generator.uniform(0.8, 1.25)).astype(np.float32)


def _three_way(value: float, name: str) -> dict[str, float]:
    """Weights of MakeHuman's three steps along a slider from 0 to 1."""
    return {
        f"min{name}": max(0.0, 1 - 2 * value),
        f"average{name}": 1 - abs(2 * value - 1),
        f"max{name}": max(0.0, 2 * value - 1),
    }


def _between(table: np.ndarray, position: float) -> np.ndarray:
    low = int(position)
    high = min(low + 1, len(table) - 1)
    return table[low] + (table[high] - table[low]) * (position - low)
