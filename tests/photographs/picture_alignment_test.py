"""The faces of one picture, by a detector that knows where they are."""

import re

import numpy as np
import pytest

from bridges.alignment import ARCFACE_TEMPLATE, align_face
from bridges.photographs.detector import DetectedFace
from bridges.photographs.picture_alignment import align_picture

HEIGHT, WIDTH = 300, 420


class Planted:
    """Finds planted faces, in pictures that lie as given, by a mark in a corner."""

    usual_score = 0.9

    def __init__(self, *faces, quarters=0):
        self.model = {"name": "planted", "sha256": "none"}
        self._faces, self._quarters = list(faces), quarters
        self.calls = 0

    def detect(self, image):
        self.calls += 1
        upright = np.rot90(MARKED, self._quarters)
        return list(self._faces) if np.array_equal(image, upright) else []


def marked() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([x * 255 / WIDTH, y * 255 / HEIGHT, (x + y) % 256], -1)
    return image.astype(np.uint8)


MARKED = marked()


def face(scale=1.0, shift=(100, 80), score=0.99, narrow=1.0, degrees=0) -> DetectedFace:
    """A face on the template, enlarged, turned and moved."""
    centre = ARCFACE_TEMPLATE.mean(0)
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (ARCFACE_TEMPLATE - centre) * [narrow, 1] @ turn.T + centre
    points = points * scale + shift
    low, high = np.array([18, 14]), np.array([96, 114])
    box = np.concatenate([low, high]) * scale + np.tile(shift, 2)
    return DetectedFace(box.astype(float), points, score)


def test_a_crop_is_that_of_the_landmarks():
    (found,), number = align_picture(MARKED, Planted(face(1.3)), image_size=96)
    assert number == 1 and found.turn == 0 and not found.doubts
    expected = align_face(MARKED, face(1.3).points, 96)
    np.testing.assert_array_equal(found.crop, expected)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_picture_that_lies_on_its_side_is_turned(quarters):
    """The face is cropped upright, and reported where it lies in the picture."""
    planted = face(1.1, shift=(60, 70))
    (found,), _ = align_picture(MARKED, Planted(planted, quarters=quarters))
    turned = np.rot90(MARKED, quarters)
    assert found.turn == 90 * quarters
    assert found.doubts == [
        f"found after turning the picture by {90 * quarters} degrees"
    ]
    error = np.abs(found.crop.astype(int) - align_face(turned, planted.points))
    assert error[..., :2].max() <= 3
    # The picture's own pixels at the landmarks are those of the turned one.
    for here, there in zip(found.face.points, planted.points, strict=True):
        x, y = np.round(here).astype(int)
        u, v = np.round(there).astype(int)
        assert np.abs(MARKED[y, x].astype(int) - turned[v, u])[:2].max() <= 2
    left, top, right, bottom = found.face.box
    assert (found.face.points > [left, top]).all()
    assert (found.face.points < [right, bottom]).all()


def test_which_faces_are_taken():
    faces = [face(0.6, (20, 20)), face(1.4, (200, 100)), face(0.9, (150, 90))]
    largest, number = align_picture(MARKED, Planted(*faces))
    assert number == 3 and len(largest) == 1
    np.testing.assert_allclose(largest[0].face.points, faces[1].points)
    (central,), _ = align_picture(MARKED, Planted(*faces), faces="central")
    np.testing.assert_allclose(central.face.points, faces[2].points)
    every, _ = align_picture(MARKED, Planted(*faces), faces="all")
    widths = [each.face.box[2] - each.face.box[0] for each in every]
    assert widths == sorted(widths, reverse=True) and len(widths) == 3
    assert align_picture(MARKED, Planted()) == ([], 0)


@pytest.mark.parametrize(
    ("planted", "doubt"),
    [
        ([face(narrow=0.5)], "a profile"),
        ([face(shift=(-60, 100))], r"56% of the crop lies outside"),
        ([face(0.3)], "small, enlarged 3.3 times"),
        ([face(score=0.8)], "a low score, 0.80"),
        ([face(1.2), face(1.0, (250, 100))], "another face is as large"),
    ],
)
def test_doubts_say_why(planted, doubt):
    (found,), _ = align_picture(MARKED, Planted(*planted))
    (said,) = found.doubts
    assert re.match(doubt, said)


def test_an_upright_frontal_face_is_looked_for_once():
    clear, leaning = Planted(face()), Planted(face(degrees=40))
    for detector, calls in ((clear, 1), (leaning, 4)):
        align_picture(MARKED, detector)
        assert detector.calls == calls
