"""Detectors and the recogniser of photographs on a GPU, against the CPU."""

import numpy as np
import pytest

from benchmarks.face_alignment import loose_face
from bridges import load_recogniser
from bridges.photographs.detector import load_detector
from bridges.photographs.picture_alignment import align_picture
from hyperface_jax import InputError

pytestmark = pytest.mark.gpu

# Pixels of a picture of 320: thresholds of the cascade turn rounding into other boxes.
POINTS = 1.0


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [loose_face(person)[0] for person in range(12)]


@pytest.mark.parametrize("name", ["mtcnn", "yunet"])
def test_faces_are_found_where_the_cpu_finds_them(cuda, name, pictures):
    try:
        here, there = (load_detector(name, device=where) for where in ("cpu", cuda))
    except InputError as error:
        pytest.skip(str(error))
    found = 0
    for picture in pictures:
        (expected, number), (faces, found_there) = (
            align_picture(picture, detector) for detector in (here, there)
        )
        assert found_there == number
        for one, other in zip(expected, faces, strict=True):
            assert np.abs(one.face.points - other.face.points).max() < POINTS
            assert abs(one.face.score - other.face.score) < 0.01
            found += 1
    assert found >= 10


def test_sface_agrees_with_the_cpu(cuda, pictures):
    try:
        here, there = (load_recogniser("sface", device=d) for d in ("cpu", cuda))
    except InputError as error:
        pytest.skip(str(error))
    crops = np.stack([picture[100:212, 100:212] for picture in pictures])
    cosines = np.einsum("nd,nd->n", here.embed(crops), there.embed(crops))
    assert cosines.min() > 1 - 1e-5
