"""A surface draped over the head from the crown down; hair styles are cut from it."""

from typing import NamedTuple

import numpy as np
import scipy.ndimage

# Origin of the rays: the centre of the skull, decimetres.
CENTRE = np.array([0.0, 7.45, 0.25])
_COLUMNS = 72
_TOP_ROWS = 18
_HANGING_ROWS = 14
# Polar angle, radians, beyond which hair hangs instead of lying on the skull.
_EQUATOR = np.deg2rad(96)
_LOWEST = 4.6


class HairGrid(NamedTuple):
    """The draped surface.

    Attributes:
      vertices: ``[h, 3]`` decimetres, on the skull and hanging straight down from it.
      roots: ``[h]`` index of the skin vertex that each one moves with.
      triangles: ``[u, 3]`` rows of ``vertices``.
    """

    vertices: np.ndarray
    roots: np.ndarray
    triangles: np.ndarray


def drape(template: np.ndarray, triangles: np.ndarray, scalp: np.ndarray) -> HairGrid:
    """Drapes the grid over the scalp of the template.

    Args:
      template: ``[v, 3]`` vertices, decimetres.
      triangles: ``[t, 3]``.
      scalp: ``[v]`` bool, skin without the ears, which hair passes over.
    """
    solid = triangles[scalp[triangles].all(1)]
    azimuth = np.linspace(0, 2 * np.pi, _COLUMNS, endpoint=False)
    polar = np.linspace(0.02, _EQUATOR, _TOP_ROWS)
    directions = np.stack(
        [
            np.sin(polar)[:, None] * np.sin(azimuth),
            np.cos(polar)[:, None] * np.ones(_COLUMNS),
            np.sin(polar)[:, None] * np.cos(azimuth),
        ],
        axis=-1,
    )
    radius = _farthest_hit(directions.reshape(-1, 3), template[solid])
    radius = _smoothed(radius.reshape(_TOP_ROWS, _COLUMNS))
    top = CENTRE + directions * radius[..., None]
    drop = np.linspace(0, top[-1, :, 1].min() - _LOWEST, _HANGING_ROWS + 1)[1:]
    hanging = top[-1] - drop[:, None, None] * np.array([0.0, 1.0, 0.0])
    skin = np.flatnonzero(scalp)
    distance = np.linalg.norm(top.reshape(-1, 1, 3) - template[skin], axis=-1)
    roots = skin[distance.argmin(1)].reshape(_TOP_ROWS, _COLUMNS)
    roots = np.concatenate([roots, np.repeat(roots[-1:], _HANGING_ROWS, 0)])
    vertices = np.concatenate([top, hanging]).reshape(-1, 3)
    return HairGrid(vertices.astype(np.float32), roots.reshape(-1), _grid_triangles())


def _farthest_hit(directions: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Distance from ``CENTRE`` to the last hit of each ray; NaN if it misses.

    Ray–triangle intersection of Möller & Trumbore (1997), "Fast, minimum storage
    ray/triangle intersection".

    Args:
      directions: ``[r, 3]`` unit vectors.
      corners: ``[t, 3, 3]`` triangles.
    """
    a, ab, ac = corners[:, 0], *(corners[:, k] - corners[:, 0] for k in (1, 2))
    away = CENTRE - a
    across = np.cross(away, ab)
    reach = np.full(len(directions), np.nan)
    for i, direction in enumerate(directions):
        normal = np.cross(direction, ac)
        determinant = (ab * normal).sum(1)
        determinant = np.where(np.abs(determinant) < 1e-12, 1e-12, determinant)
        u = (away * normal).sum(1) / determinant
        v = across @ direction / determinant
        distance = (ac * across).sum(1) / determinant
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 0.2)
        if hit.any():
            reach[i] = distance[hit].max()
    return reach


def _smoothed(radius: np.ndarray) -> np.ndarray:
    """Fills the holes that the ears leave and smooths the rest, ``[rows, columns]``."""
    known = np.isfinite(radius)
    nearest = scipy.ndimage.distance_transform_edt(
        ~known, return_distances=False, return_indices=True
    )
    filled = radius[tuple(nearest)]
    return scipy.ndimage.gaussian_filter(filled, 1.0, mode=("nearest", "wrap"))


def _grid_triangles() -> np.ndarray:
    row = np.arange(_TOP_ROWS + _HANGING_ROWS - 1)[:, None] * _COLUMNS
    column = np.arange(_COLUMNS)
    a, b = row + column, row + (column + 1) % _COLUMNS
    c, d = a + _COLUMNS, b + _COLUMNS
    return np.stack([a, c, b, b, c, d], axis=-1).reshape(-1, 3)
