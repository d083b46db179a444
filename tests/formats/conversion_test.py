"""hyperface-convert: round trips, going on after a stop, refusals, labels.csv."""

import concurrent.futures
import csv
import io
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import bridges
from bridges.cli import convert
from bridges.datasets import conversion, format_output
from bridges.datasets.conversion import convert_images
from bridges.datasets.formats import folder_writers, hugging_face_writer
from bridges.datasets.formats.writer import FORMATS
from bridges.datasets.image_dataset import ImageDataset
from bridges.datasets.image_source import open_images
from bridges.datasets.images import decode_bytes
from hyperface_jax import InputError
from tests.datasets.small_datasets import write_dataset
from tests.formats.people import NAMES, content_of, png, read, write_people

ALL = list(FORMATS)


def place(folder, format):
    return folder / (f"{format}.zip" if format == "zip" else format)


@pytest.fixture
def people(tmp_path):
    return write_people(tmp_path / "people")


@pytest.mark.parametrize("format", ALL)
def test_any_format_keeps_bytes_and_people(tmp_path, people, format):
    expected = read(people)
    made = place(tmp_path, format)
    found = convert_images(people, made, format=format)
    assert found == (len(expected), len(NAMES))
    assert read(made) == expected
    # To the next one in the list, so that each is a target once more.
    other = ALL[(ALL.index(format) + 1) % len(ALL)]
    convert_images(made, place(tmp_path / "back", other), format=other)
    assert read(place(tmp_path / "back", other)) == expected


@pytest.mark.parametrize("format", ALL)
def test_what_a_source_knows_is_kept(tmp_path, format):
    write_dataset(tmp_path / "dataset")
    made = place(tmp_path, format)
    convert_images(tmp_path / "dataset", made, format=format)
    convert_images(made, tmp_path / "back", format="folder")
    before, after = ImageDataset(tmp_path / "dataset"), ImageDataset(tmp_path / "back")
    assert after.identities == before.identities == [0, 1, 2]
    assert [path.name for path in after.paths] == [path.name for path in before.paths]
    if format in ("recordio", "lmdb", "webdataset", "hugging_face", "folder"):
        # These keep in records.jsonl, or themselves, all there was.
        for new, old in zip(after.records, before.records, strict=True):
            assert {key: new[key] for key in old} == old


@pytest.mark.parametrize("format", ALL)
def test_labels_are_told_in_a_table(tmp_path, people, format):
    (people / "bob" / "photo 0.jpg").unlink()
    made = place(tmp_path, format)
    convert_images(people, made, format=format)
    if format == "zip":
        import zipfile

        text = zipfile.ZipFile(made).read("labels.csv").decode()
    else:
        text = (made / "labels.csv").read_text("utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(r["label"], r["identity"], r["images"]) for r in rows] == [
        ("0", "ann", "3"),
        ("1", "bob", "2"),
        ("2", "zoë", "3"),
    ]


def tree(path):
    """The bytes of all files but what holds a time."""
    if path.is_file():
        return path.read_bytes()[:2000]
    return {
        str(p.relative_to(path)): p.read_bytes()
        for p in sorted(path.rglob("*"))
        if p.is_file() and p.name not in ("conversion.json", "dataset.json", "data.mdb")
    }


@pytest.mark.parametrize("format", ALL)
def test_stopped_anywhere_it_goes_on_to_the_same(tmp_path, people, format, monkeypatch):
    monkeypatch.setattr(hugging_face_writer, "_FILE_IMAGES", 2)
    whole, torn = place(tmp_path / "whole", format), place(tmp_path / "torn", format)
    convert_images(people, whole, format=format)
    monkeypatch.setattr(format_output, "_EVERY", -1.0)
    kind = FORMATS[format]
    write, finish = kind.write, kind.finish
    written = []

    def stop_after_each(self, image):
        # What is written behind the last state counts for nothing.
        write(self, image)
        written.append(image.row)
        if written.count(image.row) == 1:
            raise KeyboardInterrupt

    def stop_at_the_end(self, texts):
        finish(self, texts)
        monkeypatch.setattr(kind, "finish", finish)
        raise KeyboardInterrupt

    monkeypatch.setattr(kind, "write", stop_after_each)
    monkeypatch.setattr(kind, "finish", stop_at_the_end)
    stops = 0
    while True:
        try:
            convert_images(people, torn, format=format)
            break
        except KeyboardInterrupt:
            stops += 1
            assert stops < 30
            if torn.is_dir():
                assert all(path.name.startswith(".") for path in torn.iterdir())
                with pytest.raises(InputError):
                    open_images(torn)
            else:
                assert not torn.exists()
    assert stops == 10
    assert tree(torn) == tree(whole) and read(torn) == read(whole)
    assert [p.name for p in torn.parent.iterdir()] == [torn.name]
    # A finished one is left as it is.
    before = os.stat(torn)
    convert_images(people, torn, format=format)
    assert os.stat(torn).st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("format", ["recordio", "zip"])
def test_stopped_while_results_are_put_in_place(tmp_path, people, format, monkeypatch):
    whole, torn = place(tmp_path / "whole", format), place(tmp_path / "torn", format)
    convert_images(people, whole, format=format)
    replace, moved = os.replace, []

    def stop(source, target):
        if ".unfinished" in str(source) and ".partial" not in str(source):
            moved.append(target)
            if len(moved) % 2:
                raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(conversion.os, "replace", stop)
    for _ in range(30):
        try:
            convert_images(people, torn, format=format)
            break
        except KeyboardInterrupt:
            if torn.is_dir():
                with pytest.raises(InputError, match="unfinished"):
                    open_images(torn)
    assert tree(torn) == tree(whole) and read(torn) == read(whole)


def test_a_killed_process_goes_on(tmp_path, people):
    program = (
        "import time\n"
        "from bridges.datasets import conversion, format_output\n"
        "from bridges.datasets.formats.recordio_writer import RecordIOWriter as W\n"
        "format_output._EVERY, write = 0.05, W.write\n"
        "W.write = lambda self, image: (time.sleep(0.1), write(self, image))\n"
        f"conversion.convert_images({str(people)!r}, {str(tmp_path / 'a')!r}, "
        "format='recordio')\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    state = tmp_path / "a" / ".unfinished" / "state.json"
    deadline = time.monotonic() + 60
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert state.exists() and not (tmp_path / "a" / "train.rec").exists()
    convert_images(people, tmp_path / "a", format="recordio")
    assert read(tmp_path / "a") == read(people)


def test_a_size_is_resampled_as_everywhere_else(tmp_path, people):
    convert_images(people, tmp_path / "a", format="webdataset", image_size=8)
    before, after = open_images(people), open_images(tmp_path / "a")
    for i in range(len(before)):
        assert after.read(i).startswith(b"\x89PNG")
        np.testing.assert_array_equal(
            decode_bytes(after.read(i)), decode_bytes(before.read(i), 8)
        )
    # Images of that size are left as they are.
    convert_images(people, tmp_path / "b", format="webdataset", image_size=16)
    assert read(tmp_path / "b") == read(people)


@pytest.mark.parametrize("encode, start", [("jpeg", b"\xff\xd8"), ("png", b"\x89PNG")])
def test_an_encoding_is_of_all_images(tmp_path, people, encode, start):
    convert_images(people, tmp_path / "a", format="imagefolder", encode=encode)
    before, after = open_images(people), open_images(tmp_path / "a")
    suffix = {"jpeg": ".jpg", "png": ".png"}[encode]
    for i in range(len(before)):
        assert after.read(i).startswith(start)
        assert after.records[i]["file_name"].endswith(suffix)
        if before.read(i).startswith(start):
            assert after.read(i) == before.read(i)
        elif encode == "png":
            same = (decode_bytes(after.read(i)), decode_bytes(before.read(i)))
            np.testing.assert_array_equal(*same)


def test_images_of_nobody_known(tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for i in range(3):
        (flat / f"{i}.png").write_bytes(png(i))
    for format in ALL:
        made = place(tmp_path, format)
        if FORMATS[format].needs_labels:
            with pytest.raises(InputError, match="nothing says who is on the images"):
                convert_images(flat, made, format=format)
            assert not made.exists()
        else:
            assert convert_images(flat, made, format=format) == (3, None)
            assert read(made) == read(flat)


def test_the_command_says_what_it_made_and_refuses_in_a_line(call, tmp_path, people):
    made = tmp_path / "a"
    code, out, _ = call(convert, input=people, output=made, format="lmdb")
    assert (code, out) == (0, f"{made}: 9 images of 3 people, format lmdb\n")

    def refuse(words, **settings):
        code, _, errors = call(convert, **settings)
        assert code == 2 and words in errors.splitlines()[-1], errors

    refuse("--format is missing", input=people, output=made)
    refuse(
        "format is 'mxnet', must be one of folder, imagefolder",
        **{"input": people, "output": made, "format": "mxnet"},
    )
    refuse(
        "made with format = 'lmdb'",
        input=people,
        output=made,
        format="recordio",
    )
    refuse(
        "holds 'ann' but no conversion.json", input=made, output=people, format="lmdb"
    )
    refuse("lies in the input", input=people, output=people / "x", format="lmdb")
    (tmp_path / "b.zip").write_bytes(b"mine")
    refuse(
        "is no conversion of ours",
        input=people,
        output=tmp_path / "b.zip",
        format="zip",
    )
    assert (tmp_path / "b.zip").read_bytes() == b"mine"
    (people / "bob" / "photo 9.jpg").write_bytes(b"torn")
    for settings in ({}, {"image_size": 8}):
        out = tmp_path / "c"
        refuse("bob/photo 9.jpg", input=people, output=out, format="zip", **settings)
        refuse("bob/photo 9.jpg", input=people, output=out, format="lmdb", **settings)
        assert not out.is_file() and not [p for p in out.glob("*") if p.name[0] != "."]
        shutil.rmtree(out)
    code, out, _ = call(
        *(convert,),
        input=people,
        output=tmp_path / "d",
        format="lmdb",
        skip_unreadable=True,
    )
    assert code == 0 and "9 images of 3 people" in out


def test_an_unfinished_conversion_is_of_its_settings(tmp_path, people, monkeypatch):
    def stop(self, texts):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(format_output, "_EVERY", -1.0)
        patched.setattr(FORMATS["recordio"], "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            convert_images(people, tmp_path / "a", format="recordio")
    with pytest.raises(InputError, match="made with image_size = None, asked for 8"):
        convert_images(people, tmp_path / "a", format="recordio", image_size=8)
    with pytest.raises(InputError, match="unfinished; run hyperface-convert again"):
        open_images(tmp_path / "a")
    rec = tmp_path / "a" / ".unfinished" / "content" / "train.rec"
    rec.write_bytes(rec.read_bytes()[:100])
    with pytest.raises(InputError, match="it was changed, remove the unfinished"):
        convert_images(people, tmp_path / "a", format="recordio")


def test_tables_of_other_images_are_refused(tmp_path, people):
    convert_images(people, tmp_path / "a", format="lmdb")
    table = tmp_path / "a" / "labels.csv"
    text = table.read_text("utf-8")
    for changed, words in (
        (text.replace("ann,3", "ann,4"), "label 0 has 4 images, there are 3"),
        (text.replace("1,bob,3\n", ""), "lacks label 1"),
        (text + "7,eve,1\n", "label 7 has 1 images, there are 0"),
        (text.replace("bob", "ann"), "two labels have the same identity"),
        (text.replace("1,bob", "one,bob"), "line 3 is not label,identity,images"),
    ):
        table.write_text(changed, "utf-8")
        with pytest.raises(InputError, match=words):
            open_images(tmp_path / "a")
    table.write_text("some,other,table\n1,2,3\n")
    assert open_images(tmp_path / "a").identities == [0, 1, 2]
    records = tmp_path / "a" / "records.jsonl"
    records.write_text(records.read_text("utf-8") + '{"file_name": "x"}\n')
    with pytest.raises(InputError, match="10 lines, but there are 9 images"):
        open_images(tmp_path / "a")


def test_names_that_are_no_folders_become_numbers(tmp_path):
    plain = ["ann", "Bob", "zoë x"]
    assert folder_writers.identity_folders(plain) == plain
    for odd in ("a/b", "..", ".x", "x.", "a:b", "", " x", "ANN", "x" * 300, "a\nb"):
        assert folder_writers.identity_folders(["ann", odd]) == ["000000", "000001"]
    labels = np.array([2, 0, 2, 1, 0, 2])
    assert folder_writers.index_within(labels).tolist() == [0, 0, 1, 0, 1, 2]


def test_an_image_is_named_by_its_format(tmp_path):
    (tmp_path / "in" / "ann").mkdir(parents=True)
    kinds = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "PPM", "AVIF")
    for kind in kinds:
        path = tmp_path / "in" / "ann" / f"{kind}.jpg"
        Image.new("RGB", (8, 8), (9, 200, 9)).save(path, kind)
    convert_images(tmp_path / "in", tmp_path / "out", format="folder")
    for path in ImageDataset(tmp_path / "out").paths:
        with Image.open(path) as image:
            known = Image.registered_extensions()[path.suffix]
            assert image.format == known, path
    assert read(tmp_path / "out") == read(tmp_path / "in")


@pytest.mark.parametrize("format", ALL)
def test_odd_names_come_back(tmp_path, format):
    folder = os.fsencode(tmp_path / "in") + b"/ann\xff"
    os.makedirs(folder)
    (tmp_path / "in" / 'b,o\n"b').mkdir()
    for name in (folder + b"/1\xfe.png", os.fsencode(tmp_path / 'in/b,o\n"b/2\t.png')):
        with open(name, "wb") as file:
            file.write(png(len(name)))
    convert_images(tmp_path / "in", place(tmp_path, format), format=format)
    found = read(place(tmp_path, format))
    assert found == read(tmp_path / "in")
    assert {name for name, _ in found} == {os.fsdecode(b"ann\xff"), 'b,o\n"b'}


@pytest.mark.parametrize("format", ALL)
def test_threads_forks_and_copies_read_the_same(tmp_path, people, format):
    convert_images(people, place(tmp_path, format), format=format)
    source = open_images(place(tmp_path, format))
    rows = list(range(len(source))) * 20
    expected = [source.read(row) for row in rows]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(source.read, rows)) == expected
    # What the parent has open, forks have too.
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(source.read, rows) == expected
    copy = pickle.loads(pickle.dumps(source))
    assert [copy.read(row) for row in rows] == expected
    assert copy.fingerprint() == source.fingerprint()


def test_it_is_public(tmp_path, people):
    assert bridges.convert_images is convert_images
    assert content_of(bridges.open_images(people))
