"""Folders of photographs to folders of crops, by a detector that is quick."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from bridges.alignment import ARCFACE_TEMPLATE, TEMPLATE_SIZE
from bridges.datasets.image_dataset import ImageDataset
from bridges.photographs import align_faces as module
from bridges.photographs.align_faces import align_faces
from bridges.photographs.alignment_folder import crop_names
from bridges.photographs.detector import DETECTORS, DetectedFace
from bridges.report.alignment_page import write_alignment_page
from hyperface_jax import InputError
from tests.report.page_parser import Page

SIDE = 160


class RedSquare:
    """Finds squares of pure red, which are as large as a crop."""

    usual_score = 0.9
    calls = 0

    def __init__(self):
        self.model = {"name": "red_square", "sha256": "none"}

    def detect(self, image):
        type(self).calls += 1
        row, column = np.nonzero((image == [255, 0, 0]).all(-1))
        if not len(row):
            return []
        corner = np.array([column.min(), row.min()])
        side = column.max() + 1 - column.min()
        points = ARCFACE_TEMPLATE * side / TEMPLATE_SIZE + corner
        box = np.concatenate([corner + 0.15 * side, corner + 0.9 * side])
        return [DetectedFace(box, points, 0.95)]


@pytest.fixture(autouse=True)
def red_square(monkeypatch):
    monkeypatch.setattr(DETECTORS, "_entries", dict(DETECTORS._entries))
    DETECTORS.register("red_square", lambda device: RedSquare())


def photograph(path, corner=(20, 30), side=100, size=(SIDE, SIDE + 40)):
    image = np.full((*size, 3), 90, np.uint8)
    if corner is not None:
        x, y = corner
        image[y : y + side, x : x + side] = (255, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    photograph(folder / "ann" / "1.png")
    photograph(folder / "ann" / "1.bmp", corner=(40, 10))
    photograph(folder / "bob" / "trip" / "2.png", corner=(0, 0), side=150)
    photograph(folder / "bob" / "meadow.png", corner=None)
    return folder


def align(photographs, output, **options):
    options = {"detector": "red_square", "num_processes": 1, "device": "cpu", **options}
    return align_faces(photographs, output, **options)


def table(output):
    with open(output / "alignment.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_crops_keep_names_and_folders_and_the_table_says_the_rest(
    photographs, tmp_path
):
    result = align(photographs, tmp_path / "faces", image_size=64)
    assert result.counts["crops"] == 3 and result.counts["no face"] == 1
    crops = ["ann/1.jpg", "ann/1.png.jpg", "bob/trip/2.jpg"]
    rows = table(tmp_path / "faces")
    assert [row["file"] for row in rows] == [
        *("ann/1.bmp", "ann/1.png", "bob/meadow.png", "bob/trip/2.png")
    ]
    assert [row["crop"] for row in rows] == [*crops[:2], "", crops[2]]
    assert rows[2]["status"] == "no face" and rows[2]["faces"] == "0"
    for row in rows[:2]:
        image = np.asarray(Image.open(tmp_path / "faces" / row["crop"]))
        assert (
            image.shape == (64, 64, 3)
            and np.abs(image[8:-8, 8:-8] - [255, 0, 0]).max() < 6
        )
        eye = float(row["eye_1_x"]), float(row["eye_1_y"])
        x, y = (20, 30) if row["file"] == "ann/1.png" else (40, 10)
        assert eye == pytest.approx((x + 34.192, y + 46.157), abs=0.01)
    found = ImageDataset(tmp_path / "faces", identity_from="top")
    assert found.identities == ["ann", "bob"] and not found.left_out
    description = json.loads((tmp_path / "faces" / "alignment.json").read_text())
    assert description["settings"]["detector"] == RedSquare().model
    assert description["created_with"]["hyperface_jax"]


def test_processes_make_the_same_crops(photographs, tmp_path, monkeypatch):
    """MTCNN and YuNet load in processes; what was registered here does not."""
    for number in range(3):
        photograph(photographs / "carl" / f"{number}.png", corner=(10 * number, 5))
    monkeypatch.setattr(module, "load_detector", lambda *_, **__: RedSquare())
    align(photographs, tmp_path / "one")

    def threads(function, items, number, *, initializer, arguments):
        assert number == 2
        initializer(*arguments)
        return (function(item) for item in items)

    monkeypatch.setattr(module, "map_in_processes", threads)
    align(photographs, tmp_path / "two", num_processes=2)
    for row in table(tmp_path / "one"):
        if row["crop"]:
            one, two = (tmp_path / name / row["crop"] for name in ("one", "two"))
            assert one.read_bytes() == two.read_bytes()
    assert table(tmp_path / "one") == table(tmp_path / "two")


def test_interrupted_work_goes_on_and_finished_work_is_returned(
    photographs, tmp_path, monkeypatch
):
    output, seen = tmp_path / "faces", []
    real = module.align_picture

    def twice(image, detector, **options):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(1)
        return real(image, detector, **options)

    monkeypatch.setattr(module, "align_picture", twice)
    with pytest.raises(KeyboardInterrupt):
        align(photographs, output)
    with pytest.raises(InputError, match="unfinished; run hyperface-align"):
        ImageDataset(output)
    # A picture that has changed meanwhile, and a crop that was torn, are made again.
    photograph(photographs / "ann" / "1.png", corner=(33, 7), side=99)
    (output / "ann" / "1.jpg").write_bytes(b"torn")
    seen.clear()
    monkeypatch.setattr(module, "align_picture", real)
    align(photographs, output)
    align(photographs, tmp_path / "whole")
    assert table(output) == table(tmp_path / "whole")
    assert Image.open(output / "ann" / "1.jpg").size == (112, 112)
    before, RedSquare.calls = RedSquare.calls, 0
    assert before and align(photographs, output).counts["crops"] == 3
    assert RedSquare.calls == 0
    with pytest.raises(InputError, match="made with image_size = 112, asked for 96"):
        align(photographs, output, image_size=96)
    photograph(photographs / "ann" / "3.png")
    with pytest.raises(InputError, match="made with other pictures"):
        align(photographs, output)


def test_pictures_that_cant_be_read_are_named_after_the_others(photographs, tmp_path):
    (photographs / "bob" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    with pytest.raises(InputError, match=r"1 of 5 can't be read: bob/torn\.png: "):
        align(photographs, tmp_path / "faces")
    assert not (tmp_path / "faces" / "alignment.csv").exists()
    result = align(photographs, tmp_path / "faces", skip_unreadable=True)
    assert result.counts["unreadable"] == 1 and result.counts["crops"] == 3
    assert table(tmp_path / "faces")[-1]["status"] == "unreadable"


def test_crops_that_are_aligned_already_stay_as_they_are(tmp_path, capsys):
    crops = tmp_path / "crops"
    for number in range(4):
        photograph(crops / "ann" / f"{number}.png", (0, 0), 80, (80, 80))
    # The detector misses it, and it is a crop like the others.
    photograph(crops / "ann" / "missed.png", None, 80, (80, 80))
    photograph(crops / "ann" / "whole.png")
    result = align(crops, tmp_path / "same", image_size=80)
    assert result.counts["kept"] == 5 and result.counts["aligned"] == 1
    assert "80 x 80 pixels are aligned already" in capsys.readouterr().err
    for name in ("0.png", "missed.png"):
        kept = (tmp_path / "same" / "ann" / name).read_bytes()
        assert kept == (crops / "ann" / name).read_bytes()
    align(crops, tmp_path / "smaller", image_size=40)
    assert Image.open(tmp_path / "smaller" / "ann" / "0.jpg").size == (40, 40)
    again = align(crops, tmp_path / "again", image_size=80, realign=True)
    assert again.counts["kept"] == 0 and again.counts["no face"] == 1


def test_refusals_are_clear(photographs, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        align(tmp_path / "none", tmp_path / "faces")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures in it"):
        align(tmp_path / "empty", tmp_path / "faces")
    (tmp_path / "empty" / "clip.mp4").write_bytes(b"film")
    with pytest.raises(InputError, match="1 left out, a video; write its frames"):
        align(tmp_path / "empty", tmp_path / "faces")
    with pytest.raises(InputError, match="inside the folder of photographs"):
        align(photographs, photographs / "faces")
    with pytest.raises(InputError, match="faces is 'some', must be one of largest"):
        align(photographs, tmp_path / "faces", faces="some")
    photograph(tmp_path / "meadow" / "1.png", corner=None)
    with pytest.raises(InputError, match="no face found in any of 1 pictures"):
        align(tmp_path / "meadow", tmp_path / "faces")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match=r"holds 'letter\.txt' but no alignment"):
        align(photographs, tmp_path / "mine")


def test_the_page_shows_what_is_missing_and_doubtful(photographs, tmp_path):
    output = tmp_path / "faces"
    photograph(photographs / "carl" / "edge.png", corner=(130, 100), side=60)
    photograph(photographs / "carl" / "tiny.png", side=30)
    align(photographs, output)
    page = Page(write_alignment_page(output, photographs).read_text())
    text = page.text
    assert "Faces found in 5 of 6 photographs" in text
    assert "bob/meadow.png" in text and "small, enlarged 3.7 times" in text
    assert "None." not in text


def test_names_of_crops_never_clash():
    names = ["a.jpg", "a.png", "a.png.jpg", "A.jpeg", "b/a.jpg", "a.jpg.jpg"]
    stems = list(crop_names(names).values())
    assert len({stem.casefold() for stem in stems}) == len(names)
    assert stems[0] == "a" and stems[4] == "b/a"
