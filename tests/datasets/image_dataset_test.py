"""Reading the image dataset folder, of ours or of any usual layout."""

import numpy as np
import pytest
from PIL import Image

from bridges.datasets.image_dataset import (
    ImageDataset,
    ImageDatasetWriter,
    encode_jpeg,
)
from bridges.datasets.images import load_images
from bridges.datasets.unreadable import check_source
from hyperface_jax import InputError
from tests.datasets.small_datasets import picture, write_dataset


class TestReader:
    def test_labels_paths_and_pixels(self, tmp_path):
        write_dataset(tmp_path)
        dataset = ImageDataset(tmp_path)
        assert len(dataset) == 6 and dataset.labelled
        assert dataset.labels.dtype == np.int64
        assert dataset.labels.tolist() == [0, 0, 1, 1, 2, 2]
        assert dataset.identities == [0, 1, 2]
        images = dataset.load()
        assert images.shape == (6, 16, 16, 3) and images.dtype == np.uint8
        assert np.abs(images[3].astype(int) - picture(11)).max() < 12
        np.testing.assert_array_equal(dataset.load(indices=[3, 0]), images[[3, 0]])

    def test_labels_are_contiguous_whatever_the_identities(self, tmp_path):
        with ImageDatasetWriter(tmp_path, settings={}, kind="rendered") as writer:
            for identity in (7, 100, 3):
                record = {"identity": identity, "index": 0, "seed": 0}
                writer.write(picture(identity), record)
            writer.finish()
        dataset = ImageDataset(tmp_path)
        assert dataset.identities == [3, 7, 100]
        assert dataset.labels.tolist() == [0, 1, 2]

    def test_resampling_matches_pillow(self, tmp_path):
        write_dataset(tmp_path)
        dataset = ImageDataset(tmp_path)
        with Image.open(dataset.paths[2]) as file:
            expected = np.asarray(file.resize((8, 8), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(dataset.load(8, [2])[0], expected)

    def test_folder_per_identity(self, tmp_path):
        for name in ("bob/1.png", "ann/0.png", "ann/1.JPG", "ann/notes.txt"):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            if path.suffix == ".txt":
                path.write_text("not an image")
            else:
                Image.fromarray(picture(0)).save(path)
        dataset = ImageDataset(tmp_path)
        assert dataset.identities == ["ann", "bob"]
        assert dataset.labels.tolist() == [0, 0, 1]
        assert dataset.labelled

    def test_flat_folder_has_no_labels(self, tmp_path):
        for i in range(3):
            Image.fromarray(picture(i)).save(tmp_path / f"{i}.png")
        dataset = ImageDataset(tmp_path)
        assert not dataset.labelled and len(dataset) == 3
        np.testing.assert_array_equal(dataset.load()[1], picture(1))

    def test_linked_folders_are_entered_and_hidden_ones_are_not(self, tmp_path):
        for name in ("a/ann/0.png", "a/__MACOSX/0.png", "a/.x/0.png", "b/0.png"):
            (tmp_path / name).parent.mkdir(parents=True)
            Image.fromarray(picture(0)).save(tmp_path / name)
        Image.fromarray(picture(0)).save(tmp_path / "a/ann/._0.png")
        (tmp_path / "a/bob").symlink_to(tmp_path / "b")
        (tmp_path / "b/around").symlink_to(tmp_path / "a")
        names = [record["file_name"] for record in ImageDataset(tmp_path / "a").records]
        assert names == ["ann/0.png", "bob/0.png"]

    def test_images_beside_the_identities_are_refused(self, tmp_path):
        (tmp_path / "bob").mkdir()
        for name in ("1.png", "bob/1.png", "bob/2.png"):
            Image.fromarray(picture(0)).save(tmp_path / name)
        with pytest.raises(InputError, match=r"1 of 3 images lie beside .* 1\.png"):
            ImageDataset(tmp_path)

    @pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
    def test_other_colour_modes_become_rgb(self, tmp_path, mode):
        suffix = "jpg" if mode == "CMYK" else "png"
        image = Image.fromarray(np.full((8, 8, 3), 90, np.uint8))
        image.convert(mode, palette=Image.Palette.ADAPTIVE).save(
            tmp_path / f"a.{suffix}"
        )
        loaded = ImageDataset(tmp_path).load()
        assert loaded.shape == (1, 8, 8, 3)
        assert np.abs(loaded.astype(int) - 90).max() < 16

    def test_16_bit_grey_keeps_its_shades_and_other_ranges_are_refused(self, tmp_path):
        shades = np.arange(256, dtype=np.uint16).reshape(16, 16)
        Image.fromarray(shades * 257).save(tmp_path / "a.png")
        image = ImageDataset(tmp_path).load()[0]
        np.testing.assert_array_equal(image, np.repeat(shades[..., None], 3, axis=2))
        for dtype in (np.int32, np.float32):
            grey = Image.fromarray(shades.astype(dtype))
            grey.save(tmp_path / "a.png", format="TIFF")
            with pytest.raises(InputError, match=r"a\.png: .*unknown range"):
                ImageDataset(tmp_path).load()

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "empty"),
            (b"this is no image", "not a readable image"),
            (encode_jpeg(picture(0, 64))[:500], "[Tt]runcated"),
        ],
    )
    def test_corrupt_image_is_named(self, tmp_path, content, reason):
        write_dataset(tmp_path)
        (tmp_path / "images/000001/000001_001.jpg").write_bytes(content)
        with pytest.raises(InputError, match=f"000001_001.jpg.*{reason}"):
            ImageDataset(tmp_path).load()

    def test_differing_sizes_need_a_size(self, tmp_path):
        Image.fromarray(picture(0, 8)).save(tmp_path / "a.png")
        Image.fromarray(picture(0, 16)).save(tmp_path / "b.png")
        with pytest.raises(InputError, match=r"b\.png: 16 x 16"):
            ImageDataset(tmp_path).load()
        assert ImageDataset(tmp_path).load(8).shape == (2, 8, 8, 3)

    def test_folders_that_are_no_datasets_are_refused(self, tmp_path):
        with pytest.raises(InputError, match="no such folder"):
            ImageDataset(tmp_path / "nothing")
        with pytest.raises(InputError, match="no images"):
            ImageDataset(tmp_path)
        ImageDatasetWriter(tmp_path / "open", settings={}, kind="rendered").close()
        with pytest.raises(InputError, match="unfinished"):
            ImageDataset(tmp_path / "open")

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("{", "line 2 is not JSON"),
            ('{"file_name": "a.jpg"}', "line 2 has no 'identity'"),
            ('{"file_name": 7, "identity": 0}', "line 2 has file_name = 7"),
            ('{"file_name": "a.jpg", "identity": [1]}', r"identity = \[1\]"),
            ('{"file_name": "b.jpg", "identity": true}', "identity = True"),
            ('{"file_name": "a.jpg", "identity": 1}', "lines 1 and 2 both name a.jpg"),
            (
                '{"file_name": "./a.jpg", "identity": 1}',
                "lines 1 and 2 both name a.jpg",
            ),
            ('{"file_name": "b.jpg", "identity": "1"}', "numbers for all, or names"),
            ('{"file_name": "b.jpg", "identity": ""}', "identity = ''"),
            ('{"file_name": "", "identity": 1}', "file_name = ''"),
            ("[" * 100_000, "line 2 is not JSON"),
            ("5", "line 2 has no"),
        ],
    )
    def test_bad_metadata_is_named(self, tmp_path, line, reason):
        good = '{"file_name": "a.jpg", "identity": 0}\n'
        (tmp_path / "metadata.jsonl").write_text(good + line + "\n")
        with pytest.raises(InputError, match=reason):
            ImageDataset(tmp_path)

    def test_fingerprint_sees_names_and_contents(self, tmp_path):
        write_dataset(tmp_path / "a")
        write_dataset(tmp_path / "b")
        fingerprint = ImageDataset(tmp_path / "a").fingerprint()
        assert ImageDataset(tmp_path / "b").fingerprint() == fingerprint
        image = tmp_path / "b/images/000000/000000_000.jpg"
        image.write_bytes(image.read_bytes()[:-1] + b"\0")  # of the same size
        assert ImageDataset(tmp_path / "b").fingerprint() != fingerprint

    def test_all_that_is_unreadable_is_named_at_once_or_left_out(self, tmp_path):
        write_dataset(tmp_path)
        images = tmp_path / "images"
        (images / "000000/000000_000.jpg").unlink()
        (images / "000001/000001_000.jpg").write_bytes(b"")
        (images / "000001/000001_001.jpg").write_bytes(b"torn")
        dataset = ImageDataset(tmp_path)
        fingerprint = dataset.fingerprint()
        with pytest.raises(InputError) as error:
            check_source(dataset)
        message = str(error.value)
        assert f"{tmp_path}: 3 of 6 can't be read: " in message
        for name in ("000000_000", "000001_000", "000001_001", "--skip_unreadable"):
            assert name in message
        assert "\n" not in message and len(dataset) == 6
        readable, skipped = check_source(dataset, skip_unreadable=True)
        assert [name[-14:] for name in skipped] == [
            "000000_000.jpg",
            "000001_000.jpg",
            "000001_001.jpg",
        ]
        assert list(readable.identities) == [0, 2]
        assert readable.labels.tolist() == [0, 1, 1]
        assert load_images(readable).shape == (3, 16, 16, 3)
        assert ImageDataset(tmp_path).fingerprint() == fingerprint

    def test_nothing_readable_is_refused(self, tmp_path):
        (tmp_path / "a.jpg").write_bytes(b"")
        with pytest.raises(InputError, match="no image in it can be read"):
            check_source(ImageDataset(tmp_path), skip_unreadable=True)
