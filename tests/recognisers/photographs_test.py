"""Who tells photographs apart, and who doesn't, by the protocol of the benchmark."""

import numpy as np
import pytest

from benchmarks import photo_recognition
from bridges.photographs.detector import load_detector
from tests.photographs.weights import needs_weights

pytestmark = needs_weights


@pytest.fixture(scope="module")
def faces() -> photo_recognition.Faces:
    paths = photo_recognition.pictures(4)
    return photo_recognition.aligned(paths, load_detector(device="cpu"))


def test_all_faces_are_found_and_compared_across_pictures(faces):
    assert len(faces.crops) == 4 * 20
    first, second = np.triu_indices(80, 1)
    apart = faces.picture[first] != faces.picture[second]
    same = faces.person[first] == faces.person[second]
    cosines, found = photo_recognition.pairs(np.ones((80, 1)), faces)
    assert len(cosines) == apart.sum() and found.sum() == (same & apart).sum() == 280


def test_sface_knows_photographs_and_recogniser_f_does_not(faces):
    sface = photo_recognition.measure("sface", faces, flip=False)
    ours = photo_recognition.measure("recogniser_f", faces, flip=True)
    assert sface["eer"] < 0.03 and sface["genuine_cosine"] > 0.6
    assert 0.15 < ours["eer"] < 0.4
