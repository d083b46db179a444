"""Detectors by name, and weights that are fetched, kept and checked."""

import zipfile

import numpy as np
import pytest

from bridges import package_data
from bridges.alignment import ARCFACE_TEMPLATE, TEMPLATE_SIZE
from bridges.photographs import fetch_mtcnn, mtcnn_weights
from bridges.photographs.detector import DETECTORS, DetectedFace, load_detector
from hyperface_jax import InputError


def test_a_detector_of_ten_lines_is_loaded_by_its_name(monkeypatch):
    monkeypatch.setattr(DETECTORS, "_entries", dict(DETECTORS._entries))

    class Centre:
        usual_score = 1.0

        def __init__(self):
            self.model = {"name": "centre", "sha256": "none"}

        def detect(self, image):
            h, w = image.shape[:2]
            points = ARCFACE_TEMPLATE / TEMPLATE_SIZE * [w, h]
            return [DetectedFace(np.array([0, 0, w, h]), points, 1.0)]

    DETECTORS.register("centre", lambda device: Centre())
    (face,) = load_detector("centre", device="cpu").detect(np.zeros((112, 112, 3)))
    np.testing.assert_allclose(face.points, ARCFACE_TEMPLATE)
    with pytest.raises(InputError, match="detector is 'other', expected one of mtcnn"):
        load_detector("other", device="cpu")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HYPERFACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_weights_that_are_not_here_or_others_name_the_remedy(cache):
    with pytest.raises(InputError, match=r"mtcnn\.safetensors: not there; run make"):
        load_detector("mtcnn", device="cpu")
    cache.mkdir()
    (cache / mtcnn_weights.FILE).write_bytes(b"others")
    with pytest.raises(InputError, match=r"not the file that was tested; run make"):
        load_detector("mtcnn", device="cpu")


def test_wheels_of_something_else_are_refused(cache, tmp_path):
    wheel = tmp_path / "other.whl"
    with pytest.raises(InputError, match="no wheel of facenet-pytorch"):
        fetch_mtcnn.fetch(wheel)
    wheel.write_bytes(b"no archive")
    with pytest.raises(InputError, match="no wheel of facenet-pytorch"):
        fetch_mtcnn.fetch(wheel)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("facenet_pytorch/data/pnet.pt", b"other weights")
    with pytest.raises(InputError, match=r"pnet\.pt is not the file that was tested"):
        fetch_mtcnn.fetch(wheel)
    assert not cache.exists()


def test_files_are_kept_in_the_first_folder_that_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "home").mkdir()
    monkeypatch.delenv("HYPERFACE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "below"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.prefix", str(tmp_path / "environment"))
    kept = tmp_path / "home" / ".cache" / "hyperface_jax" / "x"
    assert package_data.place_to_keep("x") == kept
    monkeypatch.setenv("HOME", str(tmp_path / "gone"))
    kept = tmp_path / "environment" / "share" / "hyperface_jax" / "x"
    assert package_data.place_to_keep("x") == kept
