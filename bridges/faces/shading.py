"""Shading of each sample: its albedo, lit by a key light and a sky.

One compiled pass over the samples, written like a fragment shader.
"""

import math

import numpy as np

from bridges.faces import materials
from bridges.faces.compiled import compiled
from bridges.faces.head_model import EYE, HAIR, SKIN, TEETH, TONGUE
from bridges.faces.noise import step

# Colours and marks of an identity (:class:`bridges.faces.identity.Identity`). A record,
# because compiled functions pass it by reference, unlike a tuple.
PAINT = np.dtype(
    [(name, np.float32, 3) for name in ("skin", "lip", "iris", "hair", "brow")]
    + [("moles", np.float32, (5, 4)), ("texture", np.int64, 4)]
    + [
        (name, np.float64)
        for name in (
            "beard",
            "beard_extent",
            "blush",
            "brow_arch",
            "brow_density",
            "brow_height",
            "brow_inner",
            "brow_outer",
            "brow_slope",
            "brow_thickness",
            "curl",
            "eye_bags",
            "freckles",
            "lash",
            "lip_strength",
            "mottle",
            "shine",
            "wrinkles",
            "mouth_open",
        )
    ]
)
# Light, clothing and gaze of a capture (:class:`bridges.faces.capture.Capture`).
LIGHT = np.dtype(
    [
        ("direction", np.float32, 3),
        ("colour", np.float32, 3),
        ("clothing", np.float32, 3),
        ("gaze", np.float32, 2),
        ("key", np.float64),
        ("fill", np.float64),
    ]
)
# Columns of the vertex attributes, which are interpolated at each sample.
ATTRIBUTES = ("x", "y", "z", "nx", "ny", "nz", "occlusion", "lips", "lid_rim", "roots")
_LIPS, _LID_RIM = 7, 8


@compiled
def shade(seen, weights, shadow, triangles, material, attributes, paint, light, image):
    """Shades the samples where a head is seen, in place.

    Args:
      seen: ``[h, w]`` int32 triangle at each sample, −1 for the background.
      weights: ``[h, w, 3]`` barycentric weights in that triangle.
      shadow: ``[h, w]`` share of the key light that arrives, 0 to 1.
      triangles: ``[t, 3]`` int32.
      material: ``[v]`` int8 codes of :mod:`bridges.faces.head_model`.
      attributes: ``[v, 10]`` float32, the columns ``ATTRIBUTES``: template position,
        normal in camera coordinates, and paint weights in [0, 1].
      paint: one record of ``PAINT``.
      light: one record of ``LIGHT``.
      image: ``[h, w, 3]`` float32 linear RGB; background samples keep their value.
    """
    samples = _samples_to_shade(seen, triangles, material, attributes)
    albedo = np.empty(3, np.float32)
    at = np.empty(len(ATTRIBUTES), np.float32)
    for row, column, spread in samples:
        a, b, c = triangles[seen[row, column]]
        wa, wb, wc = weights[row, column]
        for k in range(at.size):
            at[k] = attributes[a, k] * wa + attributes[b, k] * wb
            at[k] += attributes[c, k] * wc
        x, y, z, nx, ny, nz, occlusion, lips, rim, roots = at
        length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
        if nz < 0:  # seen from behind: hair and the inside of the mouth
            length = -length
        nx, ny, nz = nx / length, ny / length, nz / length
        kind = material[a]
        if kind == SKIN:
            materials.skin(x, y, z, lips, rim, roots, occlusion, paint, light, albedo)
            gloss = (0.045 + 0.09 * lips) * paint.shine * (1 - 0.8 * roots)
            sharpness = 22.0
        elif kind == EYE:
            materials.eye(x, y, z, paint, light, albedo)
            gloss, sharpness = 0.9, 180.0
            # The lids shade the eyeball; this replaces the baked occlusion.
            occlusion = 0.35 + 0.65 * materials.eye_opening(y)
        elif kind == TEETH:
            materials.teeth(x, y, albedo)
            gloss, sharpness = 0.25, 40.0
            occlusion = 0.12 + 0.6 * paint.mouth_open
        elif kind == TONGUE:
            albedo[0], albedo[1], albedo[2] = 0.36, 0.10, 0.10
            gloss, sharpness = 0.1, 30.0
            occlusion = 0.08 + 0.5 * paint.mouth_open
        else:
            gloss = materials.hair(x, y, z, paint, albedo)
            sharpness = 14.0
            occlusion = 0.55 + 0.45 * step(6.6, 8.0, y)
        arriving = shadow[row, column]
        pixel = image[row, column]
        soft = kind == SKIN or kind == EYE
        _illuminate(
            albedo,
            nx,
            ny,
            nz,
            occlusion,
            arriving,
            gloss,
            sharpness,
            soft,
            light,
            pixel,
        )
        if spread:
            for k in range(3):
                image[row, column + 1, k] = pixel[k]
                image[row + 1, column, k] = pixel[k]
                image[row + 1, column + 1, k] = pixel[k]


@compiled
def _samples_to_shade(seen, triangles, material, attributes):
    """The samples to shade, ``[p, 3]``: row, column, whether it stands for the pixel.

    A pixel whose four samples see the same material is shaded once, except on eyes,
    lips and brows, where detail is finer than a pixel.
    """
    height, width = seen.shape
    samples = np.empty((height * width, 3), np.int32)
    count = 0
    for row in range(0, height, 2):
        for column in range(0, width, 2):
            if _is_plain(seen, triangles, material, attributes, row, column):
                samples[count] = row, column, 1
                count += 1
                continue
            for i in range(row, row + 2):
                for j in range(column, column + 2):
                    if seen[i, j] >= 0:
                        samples[count] = i, j, 0
                        count += 1
    return samples[:count]


@compiled
def _is_plain(seen, triangles, material, attributes, row, column):
    """Whether one shaded sample can stand for all four of its pixel."""
    if seen[row, column] < 0:
        return False
    first = triangles[seen[row, column], 0]
    kind = material[first]
    if kind != SKIN and kind != HAIR:
        return False
    if kind == SKIN:
        y, z = attributes[first, 1], attributes[first, 2]
        if 7.35 < y < 7.7 and z > 0.6:
            return False
        for k in range(3):
            corner = triangles[seen[row, column], k]
            if attributes[corner, _LIPS] + attributes[corner, _LID_RIM] > 0.02:
                return False
    for i in range(row, row + 2):
        for j in range(column, column + 2):
            other = seen[i, j]
            if other < 0 or material[triangles[other, 0]] != kind:
                return False
    return True


@compiled
def _illuminate(
    albedo, nx, ny, nz, occlusion, shadow, gloss, sharpness, soft, light, pixel
):
    """Lights one sample: wrapped diffuse key light, sky and Blinn–Phong highlight.

    Args:
      albedo: ``[3]`` linear RGB.
      nx, ny, nz: unit normal in camera coordinates.
      occlusion: share of the sky that is seen, 0 to 1.
      shadow: share of the key light that arrives, 0 to 1.
      gloss, sharpness: strength and exponent of the highlight (Blinn, 1977).
      soft: whether light scatters under the surface, as in skin.
      light: record of ``LIGHT``.
      pixel: ``[3]`` linear RGB, written in place.
    """
    lx, ly, lz = light.direction[0], light.direction[1], light.direction[2]
    facing = nx * lx + ny * ly + nz * lz
    hx, hy, hz = lx, ly, lz + 1
    half = math.sqrt(hx * hx + hy * hy + hz * hz)
    mirror = max((nx * hx + ny * hy + nz * hz) / half, 0.0)
    highlight = gloss * mirror**sharpness * shadow * light.key
    if facing < 0:
        highlight = 0.0
    sky = light.fill * (0.72 + 0.28 * ny) * occlusion
    for channel in range(3):
        # Red light scatters farthest under the skin, so shadow edges turn warm.
        wrap = (0.26, 0.12, 0.08)[channel]
        if not soft:
            wrap = 0.1
        diffuse = max((facing + wrap) / (1 + wrap), 0.0)
        diffuse *= shadow * (0.55 + 0.45 * occlusion)
        colour = albedo[channel] * (light.key * diffuse * light.colour[channel] + sky)
        pixel[channel] = colour + highlight
