"""Ambient occlusion of the template head, baked once when the model is built."""

import numpy as np

from bridges.faces import head_model
from bridges.faces.rasterizer import rasterize

_DIRECTIONS = 256
_SIZE = 384
# A vertex is hidden when something is at least this far in front of it, decimetres.
_BIAS = 0.05


def ambient_occlusion(
    vertices: np.ndarray, triangles: np.ndarray, material: np.ndarray
) -> np.ndarray:
    """Cosine-weighted share of the sky that each vertex sees.

    Averages the visibility from random directions of a fixed seed, each decided by a
    z-buffer (:func:`bridges.faces.rasterizer.rasterize`).

    Args:
      vertices: ``[v, 3]`` decimetres.
      triangles: ``[t, 3]``.
      material: ``[v]`` codes of :mod:`bridges.faces.head_model`.

    Returns:
      ``[v]`` float32 in [0.03, 1].
    """
    generator = np.random.default_rng(0)
    normals = head_model.vertex_normals(vertices, triangles)
    solid = triangles.astype(np.int32)
    centre = vertices[material == head_model.SKIN].mean(0)
    scale = _SIZE / 6.5
    never = np.zeros(len(vertices), np.float32)
    seen, possible = np.zeros(len(vertices)), np.full(len(vertices), 1e-6)
    for _ in range(_DIRECTIONS):
        direction = generator.normal(size=3)
        direction /= np.linalg.norm(direction)
        right = np.cross(direction, [0.0, 1.0, 0.01])
        right /= np.linalg.norm(right)
        up = np.cross(direction, right)
        local = (vertices - centre) @ np.stack([right, up, -direction], 1)
        screen = local.astype(np.float32)
        screen[:, :2] = screen[:, :2] * scale + _SIZE / 2
        _, _, depth = rasterize(screen, solid, never, _SIZE, _SIZE)
        column, row = np.clip(screen[:, :2].astype(int), 0, _SIZE - 1).T
        cosine = np.maximum(normals @ direction, 0)
        seen += cosine * (screen[:, 2] < depth[row, column] + _BIAS)
        possible += cosine
    share = seen / possible
    return np.clip(share, 0.03, 1).astype(np.float32)
