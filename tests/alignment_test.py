"""Aligned crops, against OpenCV and a function that is known everywhere."""

import cv2
import numpy as np

from bridges.alignment import ARCFACE_TEMPLATE, align_face


def wave(x, y):
    """A smooth picture, defined at every point."""
    return 128 + 60 * np.sin(x / 19) * np.cos(y / 23)


def picture(width, height):
    y, x = np.mgrid[:height, :width]
    return np.repeat(np.round(wave(x, y))[..., None], 3, 2).astype(np.uint8)


def turned(scale, degrees, shift):
    """Landmarks of a face of a scale and turn, and the way from the crop to it."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return ARCFACE_TEMPLATE @ (scale * turn).T + shift, scale * turn


def test_crops_show_what_is_there():
    for scale, degrees in ((0.7, 10), (1.0, 0), (1.6, -25), (3.2, 40)):
        points, linear = turned(scale, degrees, [260, 180])
        crop = align_face(picture(700, 700), points)
        y, x = np.mgrid[:112, :112]
        at = np.stack([x, y], -1) @ linear.T + [260, 180]
        inside = ((at > 8) & (at < 691)).all(-1)
        error = np.abs(crop[..., 0] - wave(at[..., 0], at[..., 1]))[inside]
        assert inside.mean() > 0.7 and error.max() < 4, (scale, degrees)


def test_what_is_outside_is_black_as_in_opencv():
    image = np.full((100, 100, 3), 200, np.uint8)
    points, linear = turned(1.0, 15, [-30, -20])
    crop = align_face(image, points)
    matrix = np.column_stack([linear, [-30, -20]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpAffine(image, matrix, (112, 112), flags=flags)
    differs = np.abs(crop.astype(int) - expected)[..., 0] > 30
    assert (expected == 0).any() and differs.mean() < 0.02


def test_fine_patterns_do_not_alias():
    """Stripes finer than the crop can show become grey, not other stripes."""
    image = np.zeros((900, 900, 3), np.uint8)
    image[:, ::2] = 255
    points, _ = turned(6.5, 3, [40, 40])
    crop = align_face(image, points)[20:90, 20:90, 0]
    assert np.abs(crop.astype(int) - 127).max() < 30
