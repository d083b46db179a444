"""YuNet, against OpenCV's reading of the same file, and on photorealistic pictures."""

import cv2
import numpy as np
from PIL import Image

from benchmarks import photo_recognition
from bridges.datasets.images import read_image
from bridges.photographs.detector import load_detector
from tests.onnx_files import YUNET

PICTURES = photo_recognition.pictures(2)


def test_yunet_equals_opencv():
    ours = load_detector("yunet", device="cpu")
    for path in PICTURES:
        image = np.asarray(Image.fromarray(read_image(path)).resize((512, 480)))
        theirs = cv2.FaceDetectorYN.create(str(YUNET), "", (512, 480), 0.6, 0.3, 5000)
        _, expected = theirs.detect(np.ascontiguousarray(image[..., ::-1]))
        found = ours.detect(image)
        assert len(found) == len(expected) == (16 if "sheet" in path.stem else 1)
        # OpenCV names the right eye and mouth corner of the person first, as we do.
        for face in found:
            row = min(expected, key=lambda e: np.abs(e[:2] - face.box[:2]).sum())
            corner, size = face.box[:2], face.box[2:] - face.box[:2]
            np.testing.assert_allclose(row[:4], [*corner, *size], atol=0.05)
            np.testing.assert_allclose(row[4:14].reshape(5, 2), face.points, atol=0.05)
            assert abs(row[14] - face.score) < 1e-3


def test_larger_pictures_are_shrunk_and_their_faces_enlarged():
    (path,) = [path for path in PICTURES if path.stem == "studio_portrait"][:1]
    image = Image.fromarray(read_image(path))
    small, large = (np.asarray(image.resize((s, s))) for s in (500, 1500))
    detector = load_detector("yunet", device="cpu")
    (one,), (other,) = detector.detect(small), detector.detect(large)
    eyes = np.linalg.norm(one.points[1] - one.points[0])
    error = np.linalg.norm(other.points / 3 - one.points, axis=1).mean()
    assert error < 0.1 * eyes
