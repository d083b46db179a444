"""Visibility: a z-buffer for the camera and a shadow map for the light."""

import numpy as np

from bridges.faces.compiled import compiled

# Offsets in shadow-map samples; bias and softness in decimetres.
_TAPS = ((0.0, 0.0), (1.7, 0.6), (-0.6, 1.7), (-1.7, -0.6), (0.6, -1.7))
_SHADOW_BIAS, _SHADOW_SOFTNESS = 0.05, 0.06


@compiled
def rasterize(
    screen: np.ndarray,
    triangles: np.ndarray,
    cutout: np.ndarray,
    height: int,
    width: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds the nearest triangle at every sample of a ``height × width`` grid.

    Args:
      screen: ``[v, 3]`` float32, x right and y down in samples, depth away from the
        camera. Sample (row, column) is at (column + 0.5, row + 0.5).
      triangles: ``[t, 3]`` int32 rows of ``screen``; both windings are drawn.
      cutout: ``[v]`` float32; samples of negative interpolated value are holes, which
        so have smooth edges without extra triangles.
      height: rows.
      width: columns.

    Returns:
      triangle: ``[height, width]`` int32, −1 where nothing is seen.
      weights: ``[height, width, 3]`` float32 barycentric weights of its corners.
      depth: ``[height, width]`` float32, +inf where nothing is seen.
    """
    seen = np.full((height, width), -1, np.int32)
    weights = np.zeros((height, width, 3), np.float32)
    depth = np.full((height, width), np.float32(np.inf), np.float32)
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        if cutout[a] < 0 and cutout[b] < 0 and cutout[c] < 0:
            continue
        ax, ay, az = screen[a, 0], screen[a, 1], screen[a, 2]
        bx, by, bz = screen[b, 0], screen[b, 1], screen[b, 2]
        cx, cy, cz = screen[c, 0], screen[c, 1], screen[c, 2]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if abs(area) < 1e-9:
            continue
        left = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
        right = min(width - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        top = max(0, int(np.ceil(min(ay, by, cy) - 0.5)))
        bottom = min(height - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        for row in range(top, bottom + 1):
            y = row + np.float32(0.5)
            for column in range(left, right + 1):
                x = column + np.float32(0.5)
                wb = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
                wc = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
                wa = 1 - wb - wc
                if wa < 0 or wb < 0 or wc < 0:
                    continue
                z = wa * az + wb * bz + wc * cz
                if z >= depth[row, column]:
                    continue
                if wa * cutout[a] + wb * cutout[b] + wc * cutout[c] < 0:
                    continue
                depth[row, column] = z
                seen[row, column] = t
                weights[row, column, 0] = wa
                weights[row, column, 1] = wb
                weights[row, column, 2] = wc
    return seen, weights, depth


@compiled
def light_reaching(
    seen: np.ndarray,
    weights: np.ndarray,
    triangles: np.ndarray,
    from_light: np.ndarray,
    depth: np.ndarray,
) -> np.ndarray:
    """The share of a light that reaches each sample, by a shadow map.

    Soft edges come from percentage-closer filtering (Reeves, Salesin & Cook, 1987):
    depth is compared at several taps and the results are averaged.

    Args:
      seen: ``[h, w]`` triangles that :func:`rasterize` returns for the camera.
      weights: ``[h, w, 3]`` barycentric weights of the same call.
      triangles: ``[t, 3]`` int32.
      from_light: ``[v, 3]`` vertices seen from the light: x and y in samples of the
        map, depth in decimetres.
      depth: ``[s, s]`` depth that :func:`rasterize` returns for the light.

    Returns:
      ``[h, w]`` float32 in [0, 1]; 1 for the background.
    """
    height, width = seen.shape
    size = len(depth)
    reaching = np.ones((height, width), np.float32)
    for row in range(height):
        for column in range(width):
            if seen[row, column] < 0:
                continue
            a, b, c = triangles[seen[row, column]]
            wa, wb, wc = weights[row, column]
            x = from_light[a, 0] * wa + from_light[b, 0] * wb + from_light[c, 0] * wc
            y = from_light[a, 1] * wa + from_light[b, 1] * wb + from_light[c, 1] * wc
            z = from_light[a, 2] * wa + from_light[b, 2] * wb + from_light[c, 2] * wc
            total = np.float32(0)
            # A light of finite width: average the sample and a ring of taps.
            for dx, dy in _TAPS:
                i = min(max(int(y + dy), 0), size - 1)
                j = min(max(int(x + dx), 0), size - 1)
                behind = z - depth[i, j] - _SHADOW_BIAS
                total += min(max(1 - behind / _SHADOW_SOFTNESS, 0), 1)
            reaching[row, column] = total / len(_TAPS)
    return reaching
