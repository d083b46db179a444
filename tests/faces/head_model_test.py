"""The shipped head model: shapes, targets and normals."""

import numpy as np
import pytest

from bridges.faces.head_model import (
    EYE,
    HAIR,
    SKIN,
    shipped_head_model,
    vertex_normals,
)


@pytest.fixture(scope="module")
def model():
    return shipped_head_model()


def test_arrays_agree(model):
    count = len(model.template)
    assert model.triangles.min() == 0 and model.triangles.max() == count - 1
    assert {SKIN, EYE, HAIR} <= set(model.material)
    for weights in (*model.paint_weights, model.ears):
        assert weights.shape == (count,)
        assert weights.min() >= 0 and weights.max() <= 1
    assert len(model.left_eye) == len(model.right_eye) > 0


def test_no_target_of_a_child_is_shipped(model):
    assert not [n for n in model.target_names if "baby" in n or "child" in n]


def test_targets_add_up(model):
    a = {"shape/nose-hump-incr": 0.5}
    b = {"expression/jawOpen": 0.3, "macro/asian-male-old": 0.7}
    expected = model.shaped(a) + model.shaped(b) - model.template
    np.testing.assert_allclose(model.shaped(a | b), expected, atol=1e-5)
    assert np.abs(model.displacement(a)).max() > 0.01


def test_expressions_leave_the_hair_alone_and_shapes_carry_it(model):
    hair = model.hair
    assert np.abs(model.displacement({"expression/jawOpen": 1.0})[hair]).max() == 0
    wider = model.displacement({"shape/head-scale-horiz-incr": 1.0})[hair]
    assert np.abs(wider).max() > 0.05


def test_unknown_target_is_refused(model):
    with pytest.raises(KeyError, match="no-such"):
        model.shaped({"shape/no-such": 1.0})


def test_normals_of_a_sphere_point_outwards():
    phi, theta = np.meshgrid(
        np.linspace(0, 2 * np.pi, 41)[:-1], np.linspace(0.2, 2.9, 30)
    )
    vertices = np.stack(
        [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1
    )
    index = np.arange(30 * 40).reshape(30, 40)
    a, b = index[:-1], np.roll(index, -1, 1)[:-1]
    c, d = index[1:], np.roll(index, -1, 1)[1:]
    triangles = np.stack([a, c, b, b, c, d], -1).reshape(-1, 3)
    vertices = vertices.reshape(-1, 3)
    normals = vertex_normals(vertices, triangles)
    inner = index[1:-1].reshape(-1)
    assert (normals[inner] * vertices[inner]).sum(1).min() > 0.99
