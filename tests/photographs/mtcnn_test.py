"""MTCNN: every face of photorealistic pictures, where it is, and nothing else."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import photo_recognition
from bridges.alignment import ARCFACE_TEMPLATE
from bridges.datasets.images import read_image
from bridges.photographs.detector import Detector, load_detector
from tests.photographs.weights import needs_weights

pytestmark = needs_weights
PICTURES = photo_recognition.pictures()
PORTRAIT = next(path for path in PICTURES if path.stem == "studio_portrait")


@pytest.fixture(scope="module")
def mtcnn() -> Detector:
    return load_detector("mtcnn", device="cpu")


@pytest.mark.slow
def test_one_face_in_pictures_of_one_person_and_sixteen_on_sheets(mtcnn):
    """The fourth person's knee, too, is a face to a less demanding last network."""
    assert len(PICTURES) == 50
    for path in PICTURES:
        faces = mtcnn.detect(read_image(path))
        assert len(faces) == (16 if path.stem == "emotions_sheet" else 1), path
        for face in faces:
            left, top, right, bottom = face.box
            inside = (face.points > [left, top]) & (face.points < [right, bottom])
            assert inside.all() and face.score > 0.9, path


def test_a_face_moves_with_the_picture(mtcnn):
    """Shifted, mirrored and enlarged pictures have their landmarks moved likewise."""
    image = np.asarray(Image.open(PORTRAIT).convert("RGB").resize((512, 512)))
    (face,) = mtcnn.detect(image)
    eyes = np.linalg.norm(face.points[1] - face.points[0])

    def error(points: np.ndarray) -> float:
        return float(np.linalg.norm(points - face.points, axis=1).mean() / eyes)

    padded = np.pad(image, ((60, 10), (35, 80), (0, 0)), constant_values=128)
    (moved,) = mtcnn.detect(padded)
    assert error(moved.points - [35, 60]) < 0.06
    (mirrored,) = mtcnn.detect(image[:, ::-1])
    assert error(mirrored.points[[1, 0, 2, 4, 3]] * [-1, 1] + [511, 0]) < 0.06
    # Longer than the networks are shown, and other factors along x and y.
    large = np.asarray(Image.fromarray(image).resize((1200, 1150)))
    (found,) = mtcnn.detect(large)
    assert error(found.points * [512 / 1200, 512 / 1150]) < 0.06


def test_no_face_where_there_is_none(mtcnn):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    for image in (np.zeros((64, 64, 3), np.uint8), noise, noise[:5]):
        assert mtcnn.detect(image) == []


def test_landmarks_are_in_the_order_of_the_template(mtcnn):
    (face,) = mtcnn.detect(read_image(PORTRAIT))
    for axis in (0, 1):
        cosine = np.corrcoef(face.points[:, axis], ARCFACE_TEMPLATE[:, axis])[0, 1]
        assert cosine > 0.95
