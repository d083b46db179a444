"""The image dataset folder: contract, refusals, kill and resume."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from PIL import Image

from bridges.datasets.image_dataset import (
    ImageDataset,
    ImageDatasetWriter,
    encode_jpeg,
)
from hyperface_jax import InputError

SETTINGS = {"seed": 1, "pose": {"yaw": 0.5}}


def picture(seed: int, size: int = 16) -> np.ndarray:
    """A smooth coloured image, so that JPEG keeps it nearly as it is."""
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    y, x = np.mgrid[:size, :size][..., None] / size
    return (127.5 + 80 * np.sin(3 * x + 2 * y + phase)).astype(np.uint8)


def write_dataset(folder: pathlib.Path, identities: int = 3, images: int = 2) -> None:
    with ImageDatasetWriter(folder, settings=SETTINGS, kind="rendered") as writer:
        # Backwards: the finished metadata must be sorted all the same.
        for identity in reversed(range(identities)):
            for index in range(images):
                seed = np.int64(10 * identity + index)
                record = {
                    "identity": identity,
                    "index": index,
                    "seed": seed,
                    "ethnicity": np.float32([0.5, 0.25, 0.25]),
                }
                writer.write(picture(seed), record)
        writer.finish(licence="CC0-1.0", models={"face": "abc"})


class TestWriter:
    def test_layout_is_the_contract(self, tmp_path):
        write_dataset(tmp_path / "d")
        names = sorted(
            path.relative_to(tmp_path / "d").as_posix()
            for path in (tmp_path / "d").rglob("*.*")
        )
        assert names == [
            "dataset.json",
            *(
                f"images/{i:06d}/{i:06d}_{k:03d}.jpg"
                for i in range(3)
                for k in range(2)
            ),
            "metadata.jsonl",
        ]
        lines = (tmp_path / "d" / "metadata.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        assert [(r["identity"], r["index"]) for r in records] == [
            (i, k) for i in range(3) for k in range(2)
        ]
        assert records[1] == {
            "file_name": "images/000000/000000_001.jpg",
            "identity": 0,
            "index": 1,
            "seed": 1,
            "ethnicity": [0.5, 0.25, 0.25],
        }
        description = json.loads((tmp_path / "d" / "dataset.json").read_text())
        assert description["complete"] is True
        assert description["settings"] == SETTINGS
        assert description["counts"] == {"identities": 3, "images": 6}
        assert description["licence"] == "CC0-1.0"

    def test_images_are_jpeg_at_full_colour_resolution(self, tmp_path):
        image = picture(0, 32)
        (tmp_path / "a.jpg").write_bytes(encode_jpeg(image))
        with Image.open(tmp_path / "a.jpg") as file:
            assert file.format == "JPEG"
            # Horizontal and vertical sampling factors of the three components.
            assert {layer[1:3] for layer in file.layer} == {(1, 1)}
            error = np.asarray(file).astype(int) - image
        assert np.sqrt(np.mean(error**2)) < 1.5

    def test_encoded_bytes_are_kept(self, tmp_path):
        content = encode_jpeg(picture(3))
        with ImageDatasetWriter(tmp_path, settings={}, kind="rendered") as writer:
            writer.write(content, {"identity": 1234567, "index": 0, "seed": 0})
        path = tmp_path / "images/1234567/1234567_000.jpg"
        assert path.read_bytes() == content

    def test_complete_dataset_is_recognised(self, tmp_path):
        write_dataset(tmp_path)
        before = (tmp_path / "dataset.json").read_bytes()
        writer = ImageDatasetWriter(tmp_path, settings=SETTINGS, kind="rendered")
        assert writer.complete and len(writer.done) == 6
        writer.finish()
        assert (tmp_path / "dataset.json").read_bytes() == before
        with pytest.raises(InputError, match="complete already"):
            writer.write(picture(0), {"identity": 9, "index": 0, "seed": 0})

    @pytest.mark.parametrize(
        ("settings", "kind", "key"),
        [
            ({**SETTINGS, "seed": 2}, "rendered", "seed = 1"),
            ({**SETTINGS, "more": 1}, "rendered", r"\(more\)"),
            ({"seed": 1}, "rendered", "pose"),
            (SETTINGS, "generated", "kind = 'rendered'"),
        ],
    )
    def test_other_settings_are_refused(self, tmp_path, settings, kind, key):
        write_dataset(tmp_path)
        with pytest.raises(InputError, match=key):
            ImageDatasetWriter(tmp_path, settings=settings, kind=kind)

    def test_foreign_folder_and_file_are_refused(self, tmp_path):
        (tmp_path / "holiday.txt").write_text("photos")
        with pytest.raises(InputError, match=r"holiday\.txt"):
            ImageDatasetWriter(tmp_path, settings={}, kind="rendered")
        with pytest.raises(InputError, match="is a file"):
            ImageDatasetWriter(tmp_path / "holiday.txt", settings={}, kind="rendered")

    def test_second_writer_is_refused(self, tmp_path):
        with ImageDatasetWriter(tmp_path, settings={}, kind="rendered"):
            with pytest.raises(InputError, match="another process"):
                ImageDatasetWriter(tmp_path, settings={}, kind="rendered")
        ImageDatasetWriter(tmp_path, settings={}, kind="rendered").close()

    def test_bad_images_and_records_are_refused(self, tmp_path):
        with ImageDatasetWriter(tmp_path, settings={}, kind="rendered") as writer:
            record = {"identity": 0, "index": 0, "seed": 0}
            with pytest.raises(InputError, match="float64"):
                writer.write(np.zeros((8, 8, 3)), record)
            with pytest.raises(InputError, match=r"\(8, 8\)"):
                writer.write(np.zeros((8, 8), np.uint8), record)
            with pytest.raises(InputError, match="seed"):
                writer.write(picture(0), {"identity": 0, "index": 0})
            assert writer.done == set()


class TestResume:
    @pytest.mark.parametrize(
        "torn", [b'{"crc32": 12, "rec', b"\0" * 40 + b"\n", b"3\n"]
    )
    def test_torn_line_and_torn_image_are_not_done(self, tmp_path, torn):
        with ImageDatasetWriter(tmp_path, settings={}, kind="rendered") as writer:
            # A view: a copy for each look-up would make resuming quadratic.
            done = writer.done
            for i in range(4):
                assert (i, 0) not in done
                writer.write(picture(i), {"identity": i, "index": 0, "seed": i})
                assert (i, 0) in done
        # What a power cut leaves: an emptied image, a missing one, a torn line.
        (tmp_path / "images/000001/000001_000.jpg").write_bytes(b"")
        (tmp_path / "images/000002/000002_000.jpg").unlink()
        with open(tmp_path / "journal.jsonl", "ab") as file:
            file.write(torn)
        with ImageDatasetWriter(tmp_path, settings={}, kind="rendered") as writer:
            assert writer.done == {(0, 0), (3, 0)}
            for i in (1, 2):
                writer.write(picture(i), {"identity": i, "index": 0, "seed": i})
            writer.finish()
        assert ImageDataset(tmp_path).load().shape == (4, 16, 16, 3)
        assert not (tmp_path / "journal.jsonl").exists()

    def test_killed_writer_goes_on_to_the_same_folder(self, tmp_path):
        script = (
            "import sys, numpy as np\n"
            "from bridges.datasets.image_dataset import ImageDatasetWriter\n"
            "writer = ImageDatasetWriter(sys.argv[1], settings={}, kind='rendered')\n"
            "for i in range(600):\n"
            "    if (i, 0) not in writer.done:\n"
            "        image = np.full((8, 8, 3), i % 251, np.uint8)\n"
            "        writer.write(image, {'identity': i, 'index': 0, 'seed': i})\n"
            "writer.finish()\n"
        )

        def start(folder: pathlib.Path) -> subprocess.Popen:
            return subprocess.Popen([sys.executable, "-c", script, os.fspath(folder)])

        process = start(tmp_path / "killed")
        journal = tmp_path / "killed" / "journal.jsonl"
        while process.poll() is None:
            if journal.exists() and journal.stat().st_size > 20_000:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        process.wait()
        assert not (tmp_path / "killed" / "metadata.jsonl").exists()
        assert start(tmp_path / "killed").wait() == 0
        assert start(tmp_path / "whole").wait() == 0
        metadata = [tmp_path / name / "metadata.jsonl" for name in ("killed", "whole")]
        assert metadata[0].read_bytes() == metadata[1].read_bytes()
        for path in (tmp_path / "whole").rglob("*.jpg"):
            twin = tmp_path / "killed" / path.relative_to(tmp_path / "whole")
            assert twin.read_bytes() == path.read_bytes()

    def test_killed_before_any_step_it_goes_on_to_the_same_folder(self, tmp_path):
        """One kill before each opening, renaming and removing of a file."""
        script = """
            import os, pathlib, signal, sys
            from bridges.datasets.image_dataset import ImageDatasetWriter

            def write(folder, steps_to_live):
                def hook(event, arguments):
                    nonlocal steps_to_live
                    if event in ("open", "os.mkdir", "os.rename", "os.remove"):
                        steps_to_live -= 1
                        if steps_to_live == 0:
                            os.kill(os.getpid(), signal.SIGKILL)
                sys.addaudithook(hook)
                image = pathlib.Path(sys.argv[1]).read_bytes()
                with ImageDatasetWriter(folder, settings={}, kind="rendered") as writer:
                    for i in range(2):
                        if (i, 0) not in writer.done:
                            writer.write(image, dict(identity=i, index=0, seed=i))
                    writer.finish()

            def ends_by_itself(folder, steps_to_live):
                child = os.fork()
                if child == 0:
                    write(folder, steps_to_live)
                    os._exit(0)
                return os.waitpid(child, 0)[1] == 0

            root = pathlib.Path(sys.argv[2])
            count = 1
            while not ends_by_itself(root / str(count), count):
                assert ends_by_itself(root / str(count), -1)
                count += 1
        """
        (tmp_path / "image.jpg").write_bytes(encode_jpeg(picture(0)))
        arguments = [tmp_path / "image.jpg", tmp_path / "datasets"]
        program = [sys.executable, "-c", textwrap.dedent(script)]
        subprocess.run([*program, *map(os.fspath, arguments)], check=True)
        folders = list((tmp_path / "datasets").iterdir())
        assert len(folders) > 15
        listed = {
            tuple(sorted(p.relative_to(folder) for p in folder.rglob("*")))
            for folder in folders
        }
        assert len(listed) == 1
        for folder in folders:
            assert len(ImageDataset(folder).load()) == 2


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
        image.unlink()
        with pytest.raises(InputError, match=r"000000_000\.jpg: no such image"):
            ImageDataset(tmp_path / "b").fingerprint()
