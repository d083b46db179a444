"""Procedural albedo of skin, brows, beard, eyes, teeth and hair.

Positions ``x, y, z`` are those of the template head (decimetres), so that paint sticks
to the surface whatever the shape and expression. ``paint`` and ``light`` are records of
:mod:`bridges.faces.shading`. Public functions that take ``albedo``, ``[3]``, write
linear RGB to it.
"""

import math

from bridges.faces.compiled import compiled
from bridges.faces.noise import blend, bump, noise, step

_EYE_X, _EYE_Y, _EYE_Z = 0.3077, 7.2842, 1.2454


@compiled
def skin(x, y, z, lips, rim, roots, occlusion, paint, light, albedo):
    """Albedo of the skin: tone, blemishes, lips, brows, beard, lashes, roots, collar.

    Args:
      x, y, z: position.
      lips, rim, roots: cover by lips, lid rims and hair roots, 0 to 1.
      occlusion: share of the sky that is seen, 0 to 1.
      paint, light: records.
      albedo: ``[3]``, written in place.
    """
    side = abs(x)
    texture = paint.texture
    tone = 1.0 + 0.07 * paint.mottle * noise(2.7 * x, 2.7 * y, 2.7 * z, texture[0])
    tone += 0.05 * paint.mottle * noise(9.0 * x, 9.0 * y, 9.0 * z, texture[1])
    red = paint.blush * bump(side - 0.44, 0.22) * bump(y - 6.95, 0.20)
    red += 0.22 * bump(x, 0.13) * bump(y - 6.93, 0.12)
    red += 0.12 * step(0.82, 0.95, side) + 0.08 * bump(y - 6.2, 0.2) * bump(x, 0.2)
    red += 0.05 * noise(5.0 * x, 5.0 * y, 5.0 * z, texture[2])
    bag = paint.eye_bags * bump(side - 0.31, 0.15) * bump(y - 7.11, 0.07)
    front = step(0.3, 0.8, z)
    freckle = 0.0
    if paint.freckles > 0:
        speck = noise(26.0 * x, 26.0 * y, 26.0 * z, texture[3])
        freckle = paint.freckles * step(0.25, 0.6, speck)
        freckle *= bump(y - 7.0, 0.32) * front
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
        mark = strength * bump(x - mx, radius) * bump(y - my, radius) * front
        blend(albedo, paint.skin, 0.25, mark)
    beard = _beard(x, y, z, lips, paint)
    blend(albedo, paint.hair, 0.9, beard)
    strength = paint.lip_strength * lips * (0.9 + 0.1 * step(6.55, 6.62, y))
    blend(albedo, paint.lip, 1.0, strength)
    blend(albedo, paint.brow, 1.0, _brow(x, y, z, paint))
    upper = 1.0 if y > 7.285 else 0.35
    blend(albedo, paint.brow, 0.3, rim * upper * paint.lash)
    strand = _strands(x, y, z, paint)
    for channel in range(3):
        root = paint.hair[channel] * strand
        albedo[channel] += (root - albedo[channel]) * roots
    if occlusion < 0.16 and z > 0.4 and 6.3 < y < 6.95:  # inside mouth and nostrils
        depth = step(0.16, 0.05, occlusion)
        for channel in range(3):
            inside = (0.30, 0.09, 0.08)[channel] * min(1.0, paint.skin[0] * 2)
            albedo[channel] += (inside - albedo[channel]) * depth
    cloth = step(5.72, 5.66, y + 0.22 * min(side, 0.8) * (z > 0))
    blend(albedo, light.clothing, 1.0, cloth)


@compiled
def _brow(x, y, z, paint):
    """Cover of a skin point by brow hair, 0 to 1."""
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
    strand = noise(70.0 * (side + 0.5 * y), 14.0 * y, 0.0, 7)
    cover = math.exp(-1.1 * across * across)
    cover *= step(-0.14, 0.12, along) * step(1.12, 0.8, along)
    return min(1.0, paint.brow_density * cover * (1.05 + 0.12 * strand))


@compiled
def _beard(x, y, z, lips, paint):
    """Cover of a skin point by beard hair, 0 to 1."""
    if paint.beard <= 0:
        return 0.0
    side = abs(x)
    cheek = 6.60 + 0.45 * step(0.45, 0.9, side) * (0.5 + paint.beard_extent)
    jaw = step(cheek + 0.12, cheek - 0.12, y) * step(5.85, 6.1, y) * step(0.1, 0.4, z)
    moustache = bump(y - 6.79, 0.085) * step(0.42, 0.30, side) * step(0.9, 1.1, z)
    grain = noise(30.0 * x, 30.0 * y, 30.0 * z, paint.texture[3])
    cover = max(jaw, moustache) * (1 - lips) * (0.92 + 0.08 * grain)
    return min(1.0, max(0.0, paint.beard * cover))


@compiled
def _wrinkles(x, y, z):
    """Depth of wrinkles, 0 to 1: forehead, crow's feet, nasolabial folds."""
    side = abs(x)
    lines = 0.0
    for k in range(3):
        height = 7.68 + 0.09 * k + 0.025 * math.cos(3.2 * x + k)
        lines += 0.55 * bump(y - height, 0.016) * step(0.5, 0.3, side)
    across, up = side - 0.47, y - 7.27
    radius = math.sqrt(across * across + up * up)
    if across > 0:
        rays = math.cos(9.0 * math.atan2(up, across))
        lines += (
            0.5
            * max(rays, 0.0) ** 3
            * step(0.02, 0.06, radius)
            * step(0.2, 0.1, radius)
        )
    fold = 0.19 + 0.16 * min(max((6.98 - y) / 0.36, 0.0), 1.0)
    lines += 0.8 * bump(side - fold, 0.022) * step(6.56, 6.66, y) * step(7.0, 6.92, y)
    return min(lines, 1.0)


@compiled
def eye_opening(y):
    """1 in the middle of the eye opening, falling to 0 under the lids."""
    up = y - (_EYE_Y + 0.012)
    return step(0.062, 0.012, up) * step(-0.085, -0.03, up)


@compiled
def eye(x, y, z, paint, light, albedo):
    """Albedo of sclera, iris, limbal ring and pupil, turned by the gaze."""
    centre = _EYE_X if x > 0 else -_EYE_X
    dx, dy, dz = x - centre, y - _EYE_Y, z - _EYE_Z
    length = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
    dx, dy = dx / length - light.gaze[0], dy / length - light.gaze[1]
    radius = math.sqrt(dx * dx + dy * dy)
    if dz < 0:
        radius = 2.0
    iris = step(0.47, 0.42, radius)
    pupil = step(0.21, 0.17, radius)
    ring = math.exp(-(((radius - 0.44) / 0.05) ** 2))
    spokes = 1 + 0.15 * math.cos(17.0 * math.atan2(dy, dx)) * (1 - pupil)
    for channel in range(3):
        white = (0.62, 0.575, 0.54)[channel] * (1 - 0.25 * step(0.5, 1.0, radius))
        colour = paint.iris[channel] * (0.75 + 1.1 * radius) * spokes
        value = white + (colour - white) * iris
        value *= 1 - 0.55 * ring
        albedo[channel] = value + (0.006 - value) * pupil


@compiled
def teeth(x, y, albedo):
    """Albedo of a row of teeth that darkens towards the corners, and of the gums."""
    gap = abs(math.sin(math.pi * x / 0.078 + math.pi / 2))
    value = 0.80 + 0.20 * step(0.0, 0.35, gap)
    value *= 0.55 + 0.45 * step(0.30, 0.16, abs(x))
    gum = step(6.74, 6.79, y) + step(6.50, 6.46, y)
    for channel in range(3):
        tooth = (0.60, 0.56, 0.48)[channel] * value
        gums = (0.40, 0.15, 0.14)[channel]
        albedo[channel] = tooth + (gums - tooth) * min(gum, 1.0)


@compiled
def _strands(x, y, z, paint):
    """Brightness of hair, about 1: streaks along it, or undirected curls."""
    azimuth = math.atan2(x, z - 0.25)
    streak = 0.20 * noise(13.0 * azimuth, 0.9 * y, 2.0, paint.texture[1])
    streak += 0.22 * noise(34.0 * azimuth, 1.4 * y, 5.0, paint.texture[2])
    curl = 0.42 * noise(15.0 * x, 15.0 * y, 15.0 * z, paint.texture[0])
    return 1.0 + streak + (curl - streak) * paint.curl


@compiled
def hair(x, y, z, paint, albedo):
    """Albedo of hair; returns the strength of its highlight."""
    strand = _strands(x, y, z, paint)
    for channel in range(3):
        albedo[channel] = paint.hair[channel] * strand
    return 0.05 * (1 - 0.8 * paint.curl) * strand * strand
