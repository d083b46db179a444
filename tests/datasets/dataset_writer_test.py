"""Writing the image dataset folder: contract, refusals, kill and resume."""

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
from tests.datasets.small_datasets import SETTINGS, picture, write_dataset


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
        (tmp_path / "theirs").mkdir()
        (tmp_path / "theirs" / "journal.jsonl").write_text("dear diary")
        for folder, name in ((tmp_path, "holiday.txt"), ("theirs", "journal.jsonl")):
            with pytest.raises(InputError, match=name):
                ImageDatasetWriter(tmp_path / folder, settings={}, kind="rendered")
        assert (tmp_path / "theirs" / "journal.jsonl").read_text() == "dear diary"
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
