"""Who tells photographs apart, and who doesn't, by the protocol of the benchmark."""

import cv2
import numpy as np
import pytest

from benchmarks import photo_recognition
from bridges.photographs.detector import DetectedFace
from tests.onnx_files import YUNET


class OpenCvDetector:
    """YuNet by OpenCV: what finds the faces is not what is tested here."""

    def detect(self, image):
        shrink = 1024 / max(image.shape[:2])
        small = cv2.resize(
            image[..., ::-1], None, fx=shrink, fy=shrink, interpolation=3
        )
        size = small.shape[1::-1]
        _, found = cv2.FaceDetectorYN.create(str(YUNET), "", size, 0.8).detect(small)
        return [
            DetectedFace(
                np.array([*row[:2], *(row[:2] + row[2:4])]) / shrink,
                row[4:14].reshape(5, 2) / shrink,
                float(row[14]),
            )
            for row in found
        ]


@pytest.fixture(scope="module")
def faces() -> photo_recognition.Faces:
    paths = photo_recognition.pictures(4)
    return photo_recognition.aligned(paths, OpenCvDetector())


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
