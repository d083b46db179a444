"""The colour of each sample: skin, brows, beard, eyes, teeth, hair, and their light.

One compiled pass over the samples, written as a fragment shader is: a function for
each material returns its albedo, one function lights it. Positions are those of the
template head (decimetres), so paint stays put on any face in any expression.
"""

import math

import numba
import numpy as np

from bridges.faces.head_model import EYE, HAIR, SKIN, TEETH, TONGUE

_EYE_X, _EYE_Y, _EYE_Z = 0.3077, 7.2842, 1.2454
# The random lattice that noise is interpolated from; it repeats after 16 cells.
_LATTICE = np.random.default_rng(16).uniform(-1, 1, (16, 16, 16)).astype(np.float32)
_function = numba.njit(cache=True, error_model="numpy")


# A person's colours and marks (:class:`bridges.faces.identity.Identity`). Records, not
# tuples: compiled functions pass them on by address.
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
# The light and the surroundings (:class:`bridges.faces.capture.Capture`).
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
# Columns of the vertex attributes that are interpolated to every sample.
ATTRIBUTES = ("x", "y", "z", "nx", "ny", "nz", "occlusion", "lips", "lid_rim", "roots")
_LIPS, _LID_RIM = 7, 8


@_function
def shade(seen, weights, shadow, triangles, material, attributes, paint, light, image):
    """Paints the samples where a head is seen into ``image``, in place.

    Args:
      seen: ``[h, w]`` int32 triangle at each sample, −1 for the background.
      weights: ``[h, w, 3]`` barycentric weights in it.
      shadow: ``[h, w]`` share of the key light that arrives.
      triangles: ``[t, 3]`` int32; material: ``[v]`` int8.
      attributes: ``[v, 10]`` float32, the columns ``ATTRIBUTES``: template position,
        normal in camera coordinates, and paint weights in [0, 1].
      paint: one record of ``PAINT``.
      light: one record of ``LIGHT``.
      image: ``[h, w, 3]`` float32, linear RGB; the background is left as it is.
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
            _skin(x, y, z, lips, rim, roots, occlusion, paint, light, albedo)
            gloss = (0.045 + 0.09 * lips) * paint.shine * (1 - 0.8 * roots)
            sharpness = 22.0
        elif kind == EYE:
            _eye(x, y, z, paint, light, albedo)
            gloss, sharpness = 0.9, 180.0
            # The lids shade the ball, whatever was baked for the template.
            occlusion = 0.35 + 0.65 * _eye_opening(y)
        elif kind == TEETH:
            _teeth(x, y, albedo)
            gloss, sharpness = 0.25, 40.0
            occlusion = 0.12 + 0.6 * paint.mouth_open
        elif kind == TONGUE:
            albedo[0], albedo[1], albedo[2] = 0.36, 0.10, 0.10
            gloss, sharpness = 0.1, 30.0
            occlusion = 0.08 + 0.5 * paint.mouth_open
        else:
            gloss = _hair(x, y, z, paint, albedo)
            sharpness = 14.0
            occlusion = 0.55 + 0.45 * _step(6.6, 8.0, y)
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


@_function
def _samples_to_shade(seen, triangles, material, attributes):
    """The samples ``[p, 3]`` to shade: row, column, and whether it stands for four.

    A pixel whose four samples see the same material is shaded once, unless it lies on
    an eye, a mouth or a brow, where detail is finer than a pixel.
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


@_function
def _is_plain(seen, triangles, material, attributes, row, column):
    """Whether one shaded sample can stand for the pixel's four."""
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


@_function
def _skin(x, y, z, lips, rim, roots, occlusion, paint, light, albedo):
    side = abs(x)
    texture = paint.texture
    tone = 1.0 + 0.07 * paint.mottle * _noise(2.7 * x, 2.7 * y, 2.7 * z, texture[0])
    tone += 0.05 * paint.mottle * _noise(9.0 * x, 9.0 * y, 9.0 * z, texture[1])
    red = paint.blush * _bump(side - 0.44, 0.22) * _bump(y - 6.95, 0.20)
    red += 0.22 * _bump(x, 0.13) * _bump(y - 6.93, 0.12)
    red += 0.12 * _step(0.82, 0.95, side) + 0.08 * _bump(y - 6.2, 0.2) * _bump(x, 0.2)
    red += 0.05 * _noise(5.0 * x, 5.0 * y, 5.0 * z, texture[2])
    bag = paint.eye_bags * _bump(side - 0.31, 0.15) * _bump(y - 7.11, 0.07)
    front = _step(0.3, 0.8, z)
    freckle = 0.0
    if paint.freckles > 0:
        speck = _noise(26.0 * x, 26.0 * y, 26.0 * z, texture[3])
        freckle = paint.freckles * _step(0.25, 0.6, speck)
        freckle *= _bump(y - 7.0, 0.32) * front
    dark = _wrinkles(x, y, z) * paint.wrinkles * front
    for channel in range(3):
        value = paint.skin[channel] * tone * (1 - 0.5 * dark)
        value *= 1 - red * (0.0, 0.32, 0.30)[channel]
        value *= 1 - bag * (0.30, 0.40, 0.36)[channel]
        value *= 1 - freckle * (0.30, 0.45, 0.55)[channel]
        albedo[channel] = value
    for k in range(len(paint.moles)):
        mx, my, radius = paint.moles[k, 0], paint.moles[k, 1], paint.moles[k, 2]
        strength = paint.moles[k, 3]
        if strength == 0 or abs(x - mx) > 3 * radius:
            continue
        mark = strength * _bump(x - mx, radius) * _bump(y - my, radius) * front
        _blend(albedo, paint.skin, 0.25, mark)
    beard = _beard(x, y, z, lips, paint)
    _blend(albedo, paint.hair, 0.9, beard)
    strength = paint.lip_strength * lips * (0.9 + 0.1 * _step(6.55, 6.62, y))
    _blend(albedo, paint.lip, 1.0, strength)
    _blend(albedo, paint.brow, 1.0, _brow(x, y, z, paint))
    upper = 1.0 if y > 7.285 else 0.35
    _blend(albedo, paint.brow, 0.3, rim * upper * paint.lash)
    strand = _strands(x, y, z, paint)
    for channel in range(3):
        root = paint.hair[channel] * strand
        albedo[channel] += (root - albedo[channel]) * roots
    if occlusion < 0.16 and z > 0.4 and 6.3 < y < 6.95:  # inside mouth and nostrils
        depth = _step(0.16, 0.05, occlusion)
        for channel in range(3):
            inside = (0.30, 0.09, 0.08)[channel] * min(1.0, paint.skin[0] * 2)
            albedo[channel] += (inside - albedo[channel]) * depth
    cloth = _step(5.72, 5.66, y + 0.22 * min(side, 0.8) * (z > 0))
    _blend(albedo, light.clothing, 1.0, cloth)


@_function
def _brow(x, y, z, paint):
    """How much of a brow hair lies at a point of the skin."""
    side = abs(x)
    along = (side - paint.brow_inner) / (paint.brow_outer - paint.brow_inner)
    if along < -0.25 or along > 1.25 or z < 0.6:
        return 0.0
    inside = min(max(along, 0.0), 1.0)
    centre = 7.505 + paint.brow_height + paint.brow_slope * (along - 0.5)
    centre += (paint.brow_arch + 0.028) * math.sin(math.pi * 0.85 * inside)
    centre -= 0.06 * max(inside - 0.65, 0.0)
    thickness = paint.brow_thickness * (1.05 - 0.6 * inside)
    across = (y - centre) / thickness
    strand = _noise(70.0 * (side + 0.5 * y), 14.0 * y, 0.0, 7)
    cover = math.exp(-1.1 * across * across)
    cover *= _step(-0.14, 0.12, along) * _step(1.12, 0.8, along)
    return min(1.0, paint.brow_density * cover * (1.05 + 0.12 * strand))


@_function
def _beard(x, y, z, lips, paint):
    if paint.beard <= 0:
        return 0.0
    side = abs(x)
    cheek = 6.60 + 0.45 * _step(0.45, 0.9, side) * (0.5 + paint.beard_extent)
    jaw = (
        _step(cheek + 0.12, cheek - 0.12, y) * _step(5.85, 6.1, y) * _step(0.1, 0.4, z)
    )
    moustache = _bump(y - 6.79, 0.085) * _step(0.42, 0.30, side) * _step(0.9, 1.1, z)
    grain = _noise(30.0 * x, 30.0 * y, 30.0 * z, paint.texture[3])
    cover = max(jaw, moustache) * (1 - lips) * (0.92 + 0.08 * grain)
    return min(1.0, max(0.0, paint.beard * cover))


@_function
def _wrinkles(x, y, z):
    """Lines that come with age: forehead, crow's feet, nose to mouth."""
    side = abs(x)
    lines = 0.0
    for k in range(3):
        height = 7.68 + 0.09 * k + 0.025 * math.cos(3.2 * x + k)
        lines += 0.55 * _bump(y - height, 0.016) * _step(0.5, 0.3, side)
    across, up = side - 0.47, y - 7.27
    radius = math.sqrt(across * across + up * up)
    if across > 0:
        rays = math.cos(9.0 * math.atan2(up, across))
        lines += (
            0.5
            * max(rays, 0.0) ** 3
            * _step(0.02, 0.06, radius)
            * _step(0.2, 0.1, radius)
        )
    fold = 0.19 + 0.16 * min(max((6.98 - y) / 0.36, 0.0), 1.0)
    lines += (
        0.8 * _bump(side - fold, 0.022) * _step(6.56, 6.66, y) * _step(7.0, 6.92, y)
    )
    return min(lines, 1.0)


@_function
def _eye_opening(y):
    """1 in the middle of the visible eye, falling towards the lids."""
    up = y - (_EYE_Y + 0.012)
    return _step(0.062, 0.012, up) * _step(-0.085, -0.03, up)


@_function
def _eye(x, y, z, paint, light, albedo):
    centre = _EYE_X if x > 0 else -_EYE_X
    dx, dy, dz = x - centre, y - _EYE_Y, z - _EYE_Z
    length = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
    dx, dy = dx / length - light.gaze[0], dy / length - light.gaze[1]
    radius = math.sqrt(dx * dx + dy * dy)
    if dz < 0:
        radius = 2.0
    iris = _step(0.47, 0.42, radius)
    pupil = _step(0.21, 0.17, radius)
    ring = math.exp(-(((radius - 0.44) / 0.05) ** 2))
    spokes = 1 + 0.15 * math.cos(17.0 * math.atan2(dy, dx)) * (1 - pupil)
    for channel in range(3):
        white = (0.62, 0.575, 0.54)[channel] * (1 - 0.25 * _step(0.5, 1.0, radius))
        colour = paint.iris[channel] * (0.75 + 1.1 * radius) * spokes
        value = white + (colour - white) * iris
        value *= 1 - 0.55 * ring
        albedo[channel] = value + (0.006 - value) * pupil


@_function
def _teeth(x, y, albedo):
    gap = abs(math.sin(math.pi * x / 0.078 + math.pi / 2))
    value = 0.80 + 0.20 * _step(0.0, 0.35, gap)
    value *= 0.55 + 0.45 * _step(0.30, 0.16, abs(x))
    gum = _step(6.74, 6.79, y) + _step(6.50, 6.46, y)
    for channel in range(3):
        tooth = (0.60, 0.56, 0.48)[channel] * value
        gums = (0.40, 0.15, 0.14)[channel]
        albedo[channel] = tooth + (gums - tooth) * min(gum, 1.0)


@_function
def _strands(x, y, z, paint):
    """The brightness of hair: streaks along it, or curls without direction."""
    azimuth = math.atan2(x, z - 0.25)
    streak = 0.20 * _noise(13.0 * azimuth, 0.9 * y, 2.0, paint.texture[1])
    streak += 0.22 * _noise(34.0 * azimuth, 1.4 * y, 5.0, paint.texture[2])
    curl = 0.42 * _noise(15.0 * x, 15.0 * y, 15.0 * z, paint.texture[0])
    return 1.0 + streak + (curl - streak) * paint.curl


@_function
def _hair(x, y, z, paint, albedo):
    strand = _strands(x, y, z, paint)
    for channel in range(3):
        albedo[channel] = paint.hair[channel] * strand
    return 0.05 * (1 - 0.8 * paint.curl) * strand * strand


@_function
def _illuminate(
    albedo, nx, ny, nz, occlusion, shadow, gloss, sharpness, soft, light, pixel
):
    """Lights one sample: a key light that wraps round skin, a sky, a highlight."""
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
        # Red light travels farthest under the skin, so shadows' edges turn warm.
        wrap = (0.26, 0.12, 0.08)[channel]
        if not soft:
            wrap = 0.1
        diffuse = max((facing + wrap) / (1 + wrap), 0.0)
        diffuse *= shadow * (0.55 + 0.45 * occlusion)
        colour = albedo[channel] * (light.key * diffuse * light.colour[channel] + sky)
        pixel[channel] = colour + highlight


@_function
def _blend(albedo, colour, scale, share):
    """Moves ``albedo`` towards ``scale * colour`` by ``share``, in place."""
    for channel in range(3):
        albedo[channel] += (scale * colour[channel] - albedo[channel]) * share


@_function
def _bump(distance, width):
    return math.exp(-((distance / width) ** 2))


@_function
def _step(low, high, value):
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@_function
def _noise(x, y, z, seed):
    """Smooth noise in [−1, 1]: a random lattice of unit cells, interpolated."""
    floor_x, floor_y, floor_z = math.floor(x), math.floor(y), math.floor(z)
    fx = _step(0.0, 1.0, x - floor_x)
    fy = _step(0.0, 1.0, y - floor_y)
    fz = _step(0.0, 1.0, z - floor_z)
    shift = int(seed)
    i, j, k = int(floor_x) + shift, int(floor_y) + shift // 16, int(floor_z)
    i0, j0, k0 = i & 15, j & 15, k & 15
    i1, j1, k1 = (i + 1) & 15, (j + 1) & 15, (k + 1) & 15
    near = _LATTICE[k0, j0, i0] * (1 - fx) + _LATTICE[k0, j0, i1] * fx
    near += (_LATTICE[k0, j1, i0] * (1 - fx) + _LATTICE[k0, j1, i1] * fx - near) * fy
    far = _LATTICE[k1, j0, i0] * (1 - fx) + _LATTICE[k1, j0, i1] * fx
    far += (_LATTICE[k1, j1, i0] * (1 - fx) + _LATTICE[k1, j1, i1] * fx - far) * fy
    return near + (far - near) * fz
