"""Who tells photographs apart, and who doesn't, by the protocol of the benchmark."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import photo_recognition
from bridges.datasets.image_dataset import ImageDataset
from bridges.datasets.images import read_image
from bridges.photographs.detector import load_detector
from bridges.recognisers.uncropped import warn_of_uncropped
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


def test_embedding_says_when_it_is_given_whole_photographs(faces, tmp_path, capsys):
    def said(name: str, images: list[np.ndarray]) -> str:
        for number, image in enumerate(images):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(image).save(tmp_path / name / f"{number}.png")
        warn_of_uncropped(ImageDataset(tmp_path / name))
        return capsys.readouterr().err

    portraits = photo_recognition.pictures(3)[1::5]
    whole = [read_image(path, 300) for path in portraits]
    assert said("aligned", list(faces.crops[:3])) == ""
    assert "away from where aligned ones do, by 3 of" in said("square", whole)
    assert "not square" in said("photographs", [image[:250] for image in whole])
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    assert said("noise", list(noise)) == ""
