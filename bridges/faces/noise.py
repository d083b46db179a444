"""Compiled building blocks of paint: smooth steps, bumps, noise and blending."""

import math

import numpy as np

from bridges.faces.compiled import compiled

# Random lattice that noise interpolates; periodic after 16 cells.
_LATTICE = np.random.default_rng(16).uniform(-1, 1, (16, 16, 16)).astype(np.float32)


@compiled
def blend(albedo, colour, scale, share):
    """Moves ``albedo`` towards ``scale * colour`` by ``share``, in place."""
    for channel in range(3):
        albedo[channel] += (scale * colour[channel] - albedo[channel]) * share


@compiled
def bump(distance, width):
    """Gaussian bump: 1 at distance 0, 1/e at ``width``."""
    return math.exp(-((distance / width) ** 2))


@compiled
def step(low, high, value):
    """Cubic smoothstep: 0 at ``low``, 1 at ``high``, clamped outside."""
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@compiled
def noise(x, y, z, seed):
    """Smooth noise in [−1, 1]: value noise on a lattice of unit cells.

    Args:
      x, y, z: position.
      seed: integer; shifts the lattice.
    """
    floor_x, floor_y, floor_z = math.floor(x), math.floor(y), math.floor(z)
    fx = step(0.0, 1.0, x - floor_x)
    fy = step(0.0, 1.0, y - floor_y)
    fz = step(0.0, 1.0, z - floor_z)
    shift = int(seed)
    i, j, k = int(floor_x) + shift, int(floor_y) + shift // 16, int(floor_z)
    i0, j0, k0 = i & 15, j & 15, k & 15
    i1, j1, k1 = (i + 1) & 15, (j + 1) & 15, (k + 1) & 15
    near = _LATTICE[k0, j0, i0] * (1 - fx) + _LATTICE[k0, j0, i1] * fx
    near += (_LATTICE[k0, j1, i0] * (1 - fx) + _LATTICE[k0, j1, i1] * fx - near) * fy
    far = _LATTICE[k1, j0, i0] * (1 - fx) + _LATTICE[k1, j0, i1] * fx
    far += (_LATTICE[k1, j1, i0] * (1 - fx) + _LATTICE[k1, j1, i1] * fx - far) * fy
    return near + (far - near) * fz
