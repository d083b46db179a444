"""The z-buffer against brute force per sample, and shadows against geometry."""

import numpy as np

from bridges.faces.rasterizer import light_reaching, rasterize


def _brute_force(screen, triangles, cutout, height, width):
    """Tests every sample against every triangle, in float64."""
    seen = np.full((height, width), -1)
    depth = np.full((height, width), np.inf)
    for row in range(height):
        for column in range(width):
            point = np.array([column + 0.5, row + 0.5, 1.0])
            for t, corners in enumerate(triangles):
                plane = np.concatenate([screen[corners, :2], np.ones((3, 1))], axis=1)
                if abs(np.linalg.det(plane)) < 1e-6:
                    continue
                weights = np.linalg.solve(plane.T, point)
                z = weights @ screen[corners, 2]
                hole = weights @ cutout[corners] < 0
                if weights.min() >= 0 and z < depth[row, column] and not hole:
                    seen[row, column], depth[row, column] = t, z
    return seen, depth


def test_equals_brute_force_on_random_triangles():
    generator = np.random.default_rng(0)
    screen = generator.uniform(-3, 19, (30, 3)).astype(np.float32)
    triangles = generator.integers(0, 30, (25, 3)).astype(np.int32)
    cutout = generator.uniform(-0.5, 1, 30).astype(np.float32)
    seen, weights, depth = rasterize(screen, triangles, cutout, 14, 17)
    expected_seen, expected_depth = _brute_force(
        screen.astype(np.float64), triangles, cutout, 14, 17
    )
    # A sample within rounding of an edge may be on either side of it.
    agree = seen == expected_seen
    assert agree.mean() > 0.99
    inside = agree & (seen >= 0)
    np.testing.assert_allclose(depth[inside], expected_depth[inside], rtol=1e-4)
    np.testing.assert_allclose(weights[inside].sum(-1), 1, atol=1e-5)


def test_the_nearer_of_two_squares_hides_the_other():
    square = np.array([[0, 0], [8, 0], [8, 8], [0, 8]], np.float32)
    far = np.column_stack([square, np.full(4, 5.0)])
    near = np.column_stack([square * 0.5, np.full(4, 1.0)])
    screen = np.concatenate([far, near]).astype(np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
    seen, _, depth = rasterize(screen, triangles, np.ones(8, np.float32), 8, 8)
    assert (seen[:4, :4] >= 2).all()
    assert (seen >= 0).all()
    assert (depth[:4, :4] == 1).all() and (depth[4:, 4:] == 5).all()


def test_an_occluder_casts_a_shadow():
    square = np.array([[0, 0], [16, 0], [16, 16], [0, 16]], np.float32)
    floor = np.column_stack([square, np.full(4, 2.0)])
    lid = np.column_stack([square * [0.5, 1], np.full(4, 1.0)])
    vertices = np.concatenate([floor, lid]).astype(np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
    solid = np.ones(8, np.float32)
    # The camera sees the floor alone; the light sees the lid over its left half.
    seen, weights, _ = rasterize(vertices, triangles[:2], solid, 16, 16)
    _, _, depth = rasterize(vertices, triangles, solid, 16, 16)
    reaching = light_reaching(seen, weights, triangles, vertices, depth)
    assert (reaching[:, :5] == 0).all()
    assert (reaching[:, 11:] == 1).all()
