"""An image source of one's own: the example of the docstring in the real command."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from bridges.cli import embed
from bridges.datasets import image_source as module
from bridges.datasets.batches import read_batches
from bridges.datasets.image_dataset import ImageDataset
from bridges.datasets.image_source import IMAGE_SOURCES, open_images
from bridges.datasets.images import UnreadableImage, encode_jpeg
from bridges.datasets.subset import Subset
from bridges.datasets.unreadable import check_source
from hyperface_jax import InputError, load_embeddings
from tests.datasets.small_datasets import picture
from tests.docstring_examples import example_of
from tests.generation.tiny_models import save_tiny_recogniser


@pytest.fixture(autouse=True)
def own_source(monkeypatch):
    """Registers the docstring's source for the length of a test."""
    monkeypatch.setattr(IMAGE_SOURCES, "_entries", dict(IMAGE_SOURCES._entries))
    exec(example_of(module), {})


@pytest.fixture
def archive(tmp_path):
    """Three JPEGs in one file."""
    contents = {name: encode_jpeg(picture(i)) for i, name in enumerate("abc")}
    arrays = {name: np.frombuffer(c, np.uint8) for name, c in contents.items()}
    np.savez(tmp_path / "faces.npz", **arrays)
    return tmp_path / "faces.npz", contents


def test_an_archive_embeds_as_the_folder_of_its_files(call, archive, tmp_path):
    path, contents = archive
    (tmp_path / "folder").mkdir()
    for name, content in contents.items():
        (tmp_path / "folder" / f"{name}.jpg").write_bytes(content)
    save_tiny_recogniser(tmp_path / "tiny")
    made = []
    for images in (path, tmp_path / "folder"):
        output = tmp_path / f"of_{images.stem}.npz"
        code, _, errors = call(
            embed, images=images, model=tmp_path / "tiny", output=output
        )
        assert code == 0 and f"{images}: 3 images" in errors
        made.append(load_embeddings(output))
    np.testing.assert_array_equal(made[0].embeddings, made[1].embeddings)
    assert made[0].names.tolist() == ["a", "b", "c"] and made[0].labels is None


def test_a_damaged_image_of_an_archive_is_named_or_left_out(call, archive, tmp_path):
    path, contents = archive
    contents["b"] = contents["b"][:100]
    arrays = {name: np.frombuffer(c, np.uint8) for name, c in contents.items()}
    np.savez(path, **arrays)
    save_tiny_recogniser(tmp_path / "tiny")
    settings = {"images": path, "model": tmp_path / "tiny", "output": tmp_path / "o"}
    code, _, errors = call(embed, **settings)
    assert code == 2
    assert f"{path}: 1 of 3 can't be read: b: not a readable" in errors.splitlines()[-1]
    assert call(embed, **settings, skip_unreadable=True)[0] == 0
    assert load_embeddings(tmp_path / "o").names.tolist() == ["a", "c"]


def test_a_file_of_no_known_suffix_and_a_folder_with_one(archive, tmp_path):
    path, _ = archive
    path.rename(tmp_path / "faces.7z")
    with pytest.raises(InputError, match="is a file, expected a folder of images"):
        open_images(tmp_path / "faces.7z")
    (tmp_path / "folder.npz").mkdir()
    Image.fromarray(picture(0)).save(tmp_path / "folder.npz" / "a.png")
    assert isinstance(open_images(tmp_path / "folder.npz"), ImageDataset)


@pytest.fixture
def people(tmp_path):
    for person in ("ann", "bob", "carl"):
        (tmp_path / "people" / person).mkdir(parents=True)
        for i in range(3):
            path = tmp_path / "people" / person / f"{i}.png"
            Image.fromarray(picture(10 * i + len(person))).save(path)
    return tmp_path / "people"


def test_a_subset_numbers_its_people_anew(people):
    source = Subset(ImageDataset(people), np.array([7, 0, 8]))
    names = [record["file_name"] for record in source.records]
    assert names == ["carl/1.png", "ann/0.png", "carl/2.png"]
    assert source.identities == ["ann", "carl"]
    assert source.labels.tolist() == [1, 0, 1] and len(source) == 3
    assert source.read(2) == (people / "carl/2.png").read_bytes()
    other = Subset(ImageDataset(people), [7, 0])
    assert other.fingerprint() != source.fingerprint()


def test_what_is_readable_stays_as_it_is(people):
    dataset = ImageDataset(people)
    assert check_source(dataset) == (dataset, {})
    (people / "bob/1.png").write_bytes(b"")
    left, reasons = check_source(dataset, skip_unreadable=True)
    assert list(reasons) == ["bob/1.png"] and len(left) == 8
    assert left.labels.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("batch_size", [1, 4, 9, 20])
def test_batches_hold_every_image_once_and_in_order(people, batch_size):
    dataset = ImageDataset(people)
    with read_batches(dataset, 8, batch_size) as batches:
        found = list(batches)
    assert [i for rows, _ in found for i in rows] == list(range(9))
    assert all(len(rows) == len(images) for rows, images in found)
    images = np.concatenate([images for _, images in found])
    for i, path in enumerate(dataset.paths):
        with Image.open(path) as file:
            expected = file.resize((8, 8), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(images[i], np.asarray(expected))


def test_batches_end_at_an_image_that_can_not_be_read(people):
    (people / "bob/1.png").write_bytes(b"torn")
    with pytest.raises(UnreadableImage, match=r"bob/1\.png"):
        with read_batches(ImageDataset(people), 8, 3) as batches:
            for rows, _ in batches:
                assert rows.stop <= 3


def test_a_fingerprint_of_files_is_what_it_was(tmp_path):
    """Outputs of earlier versions are told by it."""
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "0.png").write_bytes(b"x")
    line = f"ann/0.png 0 {hashlib.sha256(b'x').hexdigest()}\n"
    expected = hashlib.sha256(line.encode()).hexdigest()
    assert ImageDataset(tmp_path).fingerprint() == expected
