"""Hair styles, cut from the draped surface, with roots painted on the skin."""

from typing import NamedTuple

import numpy as np

from bridges.faces.hair_grid import CENTRE
from bridges.faces.head_model import HeadModel
from bridges.faces.identity import Identity


class Hair(NamedTuple):
    """A hair style, per vertex of the head model.

    Attributes:
      offset: ``[v, 3]`` displacement of the hair off the skull, decimetres.
      cutout: ``[v]`` negative where the hair surface is cut away; 1 off the hair.
      roots: ``[v]`` share of the skin covered by roots, 0 to 1.
      curl: 0 (straight strands) to 1 (no common direction).
    """

    offset: np.ndarray
    cutout: np.ndarray
    roots: np.ndarray
    curl: float


class _Style(NamedTuple):
    """Measures of a style in decimetres; ``density`` and ``curl`` are in [0, 1]."""

    thickness: float  # at the sides
    lift: float  # additional thickness at the top
    length: float  # height y at which it ends, at the back
    forward: float  # how far it hangs in front of the ears
    density: float
    curl: float


_STYLES = {
    "shaved": _Style(0.0, 0.0, 6.95, 0.0, 0.45, 0.6),
    "crop": _Style(0.015, 0.02, 6.95, 0.0, 0.92, 0.5),
    "short": _Style(0.04, 0.08, 6.9, 0.0, 1.0, 0.15),
    "full": _Style(0.08, 0.15, 6.8, 0.05, 1.0, 0.3),
    "curly": _Style(0.18, 0.16, 6.75, 0.05, 1.0, 1.0),
    "tied": _Style(0.02, 0.05, 6.95, 0.0, 1.0, 0.0),
    "bob": _Style(0.24, 0.04, 6.25, 0.30, 1.0, 0.1),
    "long": _Style(0.22, 0.02, 4.9, 0.24, 1.0, 0.05),
}


def style_hair(model: HeadModel, identity: Identity, age: float) -> Hair:
    """The hair of a person at ``age`` years."""
    style, traits = _STYLES[identity.hair_style], identity.traits
    x, y, z = model.template.T
    line = _front_line(np.abs(x), traits, age)
    bare = _coverage(x, y, z, line, style._replace(forward=0.0), traits)
    roots = _smoothstep(-0.02, 0.05, bare) * style.density
    roots *= (1 - model.ears) * (z < 1.2)
    fringe = traits["fringe"] * (style.thickness >= 0.09) * (np.abs(x) < 0.62)
    cover = _coverage(x, y, z, line - fringe, style, traits)
    hair = np.zeros(len(x), bool)
    hair[model.hair] = style.thickness > 0
    # Hair is flat at the hairline and reaches its volume within a finger's width.
    # Short hair also thins out towards the nape; long hair hangs.
    taper = 0.16 if style.forward >= 0.1 else 0.40
    rise = _smoothstep(0.0, 0.16, cover) * _smoothstep(0.0, taper, y - style.length)
    top = _smoothstep(7.7, 8.3, y)
    thickness = traits["hair_volume"] * (style.thickness + style.lift * top)
    outwards = model.template - CENTRE
    outwards[:, 1] = np.maximum(outwards[:, 1], 0)
    outwards /= np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1e-6)
    bump = 1 + 0.22 * style.curl * np.sin(9 * x + 1.3) * np.sin(11 * y) * np.cos(8 * z)
    lift = (0.012 + thickness * rise * bump) * hair
    cutout = np.where(hair, cover, 1.0)
    cutout[model.hair] = np.where(style.thickness > 0, cutout[model.hair], -1.0)
    return Hair(
        (outwards * lift[:, None]).astype(np.float32),
        cutout.astype(np.float32),
        roots.astype(np.float32),
        style.curl,
    )


def _front_line(side: np.ndarray, traits: dict[str, float], age: float) -> np.ndarray:
    """Height y of the hairline on the forehead, by distance from the middle."""
    receded = traits["recession"] * np.clip((age - 22) / 45, 0, 1)
    line = 7.95 + traits["hairline"] + traits["hairline_width"] * side**2
    line -= traits["hairline_peak"] * np.exp(-((side / 0.14) ** 2))
    line += receded * (0.10 + 0.30 * np.exp(-(((side - 0.42) / 0.17) ** 2)))
    return line


def _coverage(
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    line: np.ndarray,
    style: _Style,
    traits: dict[str, float],
) -> np.ndarray:
    """Signed distance of each point into the hair, decimetres; negative outside."""
    temple = 0.55 + 0.32 * _smoothstep(7.3, 7.75, y) + style.forward
    below_ear = 0.40 * _smoothstep(7.45, 7.1, y) * (style.forward < 0.1)
    behind = temple - below_ear - z
    length = style.length
    if style.forward >= 0.1:
        length = length + 0.45 * (traits["hair_length"] - 0.5)
        # The ends are slightly ragged, and shorter towards the face.
        length = length + 0.03 * np.sin(23 * x) + 0.03 * np.cos(31 * x + 9 * z)
    return np.maximum(np.minimum(y - line, z + 1.0), np.minimum(behind, y - length))


def _smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
