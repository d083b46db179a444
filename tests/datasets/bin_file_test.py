"""insightface's .bin files: read as written by Python 2 and 3, refused where wrong."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from bridges.cli import convert as command
from bridges.datasets.bin_file import BinFile, contiguous_folds, write_bin
from bridges.datasets.image_source import open_images
from bridges.datasets.images import encode_jpeg
from bridges.datasets.make_bin import convert_to_bin
from bridges.datasets.verification_set import (
    check_images,
    load_verification_set,
    write_pairs,
)
from hyperface_jax import InputError
from tests.datasets.small_datasets import picture


@pytest.fixture
def images() -> list[bytes]:
    """Of 24 pairs; some images are in several."""
    return [encode_jpeg(picture(k % 40, 32)) for k in range(48)]


SAME = [k % 2 == 0 for k in range(24)]


def test_what_is_written_is_read_by_pickle_and_by_us(images, tmp_path):
    path = tmp_path / "lfw.bin"
    write_bin(path, images, SAME)
    assert pickle.loads(path.read_bytes()) == (images, SAME)
    found = BinFile(path)
    assert len(found) == 40 and found.pairs.shape == (24, 2)
    assert [found.read(i) for i in found.pairs.ravel()] == images
    assert found.same.tolist() == SAME
    again = pickle.loads(pickle.dumps(found))
    assert again.read(3) == found.read(3) and again.name == found.name


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_other_lists_are_read(images, tmp_path, protocol):
    """As cv2.imencode and NumPy give them: columns of bytes, an array of truths."""
    path = tmp_path / "x.bin"
    for shape in ((-1,), (-1, 1), (1, -1)):
        columns = [np.frombuffer(each, np.uint8).reshape(shape) for each in images]
        for same in (np.array(SAME), [np.bool_(each) for each in SAME], tuple(SAME)):
            path.write_bytes(pickle.dumps([columns, same], protocol))
            found = BinFile(path)
            assert [found.read(i) for i in found.pairs.ravel()] == images
            assert found.same.tolist() == SAME


def test_it_is_a_verification_set_and_a_source_of_images(images, tmp_path):
    path = tmp_path / "cfp_fp.bin"
    write_bin(path, images, SAME)
    found = check_images(load_verification_set(path))
    assert found.name == "cfp_fp" and found.listed_in == [path]
    assert found.fold.tolist() == contiguous_folds(24).tolist()
    assert np.bincount(found.fold).tolist() == [3] * 4 + [2] * 6
    source = open_images(path)
    assert len(source) == 40 and not source.labelled
    images[5] = b"torn"
    write_bin(path, images, SAME)
    with pytest.raises(InputError, match=r"1 of 41 can't be read: 00005: not a read"):
        check_images(load_verification_set(path))
    left = check_images(load_verification_set(path), skip_unreadable=True)
    assert len(left.pairs) == 23


def test_faults_are_named(images, tmp_path):
    path = tmp_path / "x.bin"

    def refused(content: object, reason: str) -> None:
        raw = content if isinstance(content, bytes) else pickle.dumps(content)
        path.write_bytes(raw)
        with pytest.raises(InputError, match=rf"x\.bin: {reason}") as error:
            load_verification_set(path)
        assert "\n" not in str(error.value)

    refused((images[:-1], SAME), "47 images for 24 pairs, expected two a pair")
    refused((images, SAME[:-1]), "48 images for 23 pairs")
    refused((images, [True] * 24), "every pair has same = 1")
    refused((images[:6], SAME[:3]), "3 pairs, too few for its 10 folds")
    refused(([], []), "no pairs in it")
    refused((images, [2, *SAME[1:]]), "'2' where a pair is")
    refused((["a", *images[1:]], SAME), "an image of str, expected bytes")
    refused([images], "no pair of images and truth values")
    refused((b"x", SAME), "no lists of images")
    refused(pickle.dumps((images, SAME))[:-200], "a (damaged or )?truncated pickle")
    refused(b"", "a truncated pickle")
    refused(b"\xff\xd8\xff", "no pickle, or a damaged one")
    refused(b"cos\nsystem\n(Vtouch x\ntR.", r"'os\.system', which could run anything")
    with pytest.raises(InputError, match="no such file"):
        BinFile(tmp_path / "none.bin")
    with pytest.raises(InputError, match="2 images for 2 pairs, expected two a pair"):
        write_bin(tmp_path / "y.bin", images[:2], [True, False])


def test_a_bin_is_made_of_any_pairs(tmp_path, capsys):
    """Fold after fold, bytes untouched where every reader takes them."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    for k in range(6):
        Image.fromarray(picture(k, 112 if k % 2 else 40)).save(folder / f"{k}.png")
    rows = [
        (f"{k % 3}.png", f"{3 + k // 3}.png", k % 3 == k // 3, 9 - fold)
        for fold in range(10)
        for k in range(9)
    ]
    write_pairs(folder, rows)
    command.FLAGS(
        [
            *("hyperface-convert", f"--input={folder}", "--format=bin"),
            f"--output={tmp_path / 'mine.bin'}",
        ]
    )
    try:
        command.main()
    finally:
        for name in command.FLAGS:
            command.FLAGS[name].unparse()
    assert "mine.bin: 90 pairs" in capsys.readouterr().out
    found = check_images(load_verification_set(tmp_path / "mine.bin"))
    by_fold = sorted(range(90), key=lambda i: rows[i][3])
    assert found.same.tolist() == [bool(rows[i][2]) for i in by_fold]
    first = [found.images.read(i) for i in found.pairs[:, 0]]
    for content, i in zip(first, by_fold, strict=True):
        original = (folder / rows[i][0]).read_bytes()
        if Image.open(folder / rows[i][0]).size == (112, 112):
            assert content == original
        else:
            assert Image.open(io.BytesIO(content)).size == (112, 112)
    with pytest.raises(InputError, match=r"mine\.bin: exists; give another"):
        convert_to_bin(folder, tmp_path / "mine.bin")
