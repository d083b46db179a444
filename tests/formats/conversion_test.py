"""Every format that is written is read back, by others and by us, bytes equal."""

import csv
import io
import json
import pathlib
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from bridges.cli import convert as command
from bridges.datasets import conversion
from bridges.datasets.conversion import convert_images
from bridges.datasets.formats import tar_shards
from bridges.datasets.formats.writer import FORMATS
from bridges.datasets.image_source import open_images
from hyperface_jax import InputError
from tests.formats.conftest import contents_of, read_back

PEOPLE = ["Bob Ä", "ann", "carl"]


def in_order(tree) -> tuple[list[bytes], list[int]]:
    """Images and labels as they are converted."""
    contents = contents_of(tree)
    images = [image for person in PEOPLE for image in contents[person]]
    labels = [k for k, person in enumerate(PEOPLE) for _ in contents[person]]
    return images, labels


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_is_read_back_with_its_people(name, tree, tmp_path):
    output = tmp_path / ("out.zip" if FORMATS[name].is_file else "out")
    assert convert_images(tree, output, format=name) == 9
    source = open_images(output)
    assert read_back(source) == contents_of(tree)
    assert len(source.fingerprint()) == 64
    again = pickle.loads(pickle.dumps(source))
    assert again.read(5) == source.read(5)
    # And on to another format, from this one.
    convert_images(output, tmp_path / "third", format="folder")
    assert read_back(open_images(tmp_path / "third")) == contents_of(tree)
    if not FORMATS[name].is_file:
        with open(output / "labels.csv", newline="") as file:
            table = list(csv.reader(file))
        assert table[0] == ["label", "identity", "images"]
        assert table[1:] == [["0", "Bob Ä", "2"], ["1", "ann", "3"], ["2", "carl", "4"]]
        # The same command finds it finished; other settings are refused.
        assert convert_images(tree, output, format=name) == 9
        with pytest.raises(InputError, match="made with encode = 'keep', asked for"):
            convert_images(tree, output, format=name, encode="png")


def test_recordio_by_its_description(tree, tmp_path):
    """Magic, length with the kind of the part above bit 29, content, filled up to 4."""
    convert_images(tree, tmp_path / "out", format="recordio")
    raw = (tmp_path / "out" / "train.rec").read_bytes()
    index = {}
    for line in (tmp_path / "out" / "train.idx").read_text().splitlines():
        key, offset = line.split("\t")
        index[int(key)] = int(offset)
    records, at, parts, begin = {}, 0, [], 0
    while at < len(raw):
        magic, word = struct.unpack_from("<II", raw, at)
        assert magic == 0xCED7230A
        kind, length = word >> 29, word & (2**29 - 1)
        if kind in (0, 1):
            begin, parts = at, []
        parts.append(raw[at + 8 : at + 8 + length])
        at += 8 + (length + 3) // 4 * 4
        if kind in (0, 3):
            records[begin] = struct.pack("<I", 0xCED7230A).join(parts)
    assert sorted(records) == sorted(index.values())
    flag, _, _, _ = struct.unpack_from("<IfQQ", records[index[0]])
    end, people_end = struct.unpack_from("<2f", records[index[0]], 24)
    assert (flag, end, people_end) == (2, 10, 13)
    images, labels = in_order(tree)
    for key in range(1, 10):
        flag, label, own, _ = struct.unpack_from("<IfQQ", records[index[key]])
        assert (flag, label, own) == (0, labels[key - 1], key)
        assert records[index[key]][24:] == images[key - 1]
    assert (tmp_path / "out" / "property").read_text() == "3,112,112\n"
    lines = (tmp_path / "out" / "train.lst").read_text().splitlines()
    assert lines[2] == "3\t1\tann/0.jpg"


def test_webdataset_reads_our_shards(tree, tmp_path, monkeypatch):
    import webdataset

    monkeypatch.setattr(tar_shards, "IMAGES_PER_SHARD", 4)
    convert_images(tree, tmp_path / "out", format="webdataset")
    shards = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    assert len(shards) == 3
    found = []
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        (image,) = (sample[key] for key in ("jpg", "png") if key in sample)
        known = json.loads(sample["json"])
        found.append((image, int(sample["cls"])))
        assert known["label"] == int(sample["cls"])
    images, labels = in_order(tree)
    assert found == list(zip(images, labels, strict=True))


def test_lmdb_and_msgpack_read_our_lmdb(tree, tmp_path):
    import lmdb
    import msgpack

    convert_images(tree, tmp_path / "out", format="lmdb")
    images, labels = in_order(tree)
    with lmdb.open(str(tmp_path / "out"), readonly=True) as environment:
        with environment.begin() as transaction:
            assert msgpack.unpackb(transaction.get(b"__len__")) == 9
            assert msgpack.unpackb(transaction.get(b"__classnum__")) == 3
            for key, image, label in zip(range(9), images, labels, strict=True):
                value = msgpack.unpackb(transaction.get(str(key).encode()))
                assert value == [image, b"", label]


def test_datasets_reads_our_table(tree, tmp_path):
    import datasets

    convert_images(tree, tmp_path / "out", format="datasets")
    rows = datasets.load_from_disk(str(tmp_path / "out"))
    images, labels = in_order(tree)
    assert rows["label"][:] == labels
    assert rows[4]["image"].size == (16, 16)
    raw = rows.cast_column("image", datasets.Image(decode=False))
    assert [row["image"]["bytes"] for row in raw] == images


def test_stylegan_labels_and_zip_members(tree, tmp_path):
    convert_images(tree, tmp_path / "out", format="stylegan")
    images, labels = in_order(tree)
    pairs = json.loads((tmp_path / "out" / "dataset.json").read_text())["labels"]
    assert [label for _, label in pairs] == labels
    assert [(tmp_path / "out" / name).read_bytes() for name, _ in pairs] == images
    assert pairs[0][0] == "00000/img00000000.png"
    convert_images(tree, tmp_path / "out.zip", format="zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        assert archive.read("carl/0.jpg") == images[5]
    with pytest.raises(InputError, match=r"out\.zip: exists; give another"):
        convert_images(tree, tmp_path / "out.zip", format="zip")


def test_a_bin_is_made_of_pairs(tmp_path):
    from bridges import verify_pairs
    from bridges.datasets.verification_set import load_verification_set, write_pairs
    from tests.formats.conftest import encoded

    folder = tmp_path / "pairs"
    folder.mkdir()
    for k in range(6):
        (folder / f"{k}.png").write_bytes(encoded(k, "png"))
    rows = [(f"{k % 3}.png", f"{3 + k % 2}.png", k % 2, 9 - k // 4) for k in range(40)]
    rows = [row for row in rows if (row[0], row[1]) != ("0.png", "0.png")]
    seen, kept = {}, []
    for row in rows:
        if seen.setdefault(row[:2], row[2]) == row[2]:
            kept.append(row)
    write_pairs(folder, kept)
    convert_images(folder, tmp_path / "x.bin", format="bin", image_size=16)
    before = load_verification_set(folder)
    found = load_verification_set(tmp_path / "x.bin")
    order = np.argsort(before.fold, kind="stable")
    expected = [before.images.read(i) for i in before.pairs[order].ravel()]
    assert [found.images.read(i) for i in found.pairs.ravel()] == expected
    assert found.same.tolist() == before.same[order].tolist()
    convert_images(folder, tmp_path / "large.bin", format="bin")
    large = load_verification_set(tmp_path / "large.bin").images.read(0)
    assert Image.open(io.BytesIO(large)).size == (112, 112)
    assert verify_pairs is not None


@pytest.mark.parametrize("name", ["recordio", "webdataset", "lmdb", "folder"])
def test_interrupted_conversions_go_on(name, tree, tmp_path, monkeypatch):
    monkeypatch.setattr(tar_shards, "IMAGES_PER_SHARD", 2)
    monkeypatch.setattr("bridges.datasets.formats.lmdb_folder._IN_A_TRANSACTION", 2)
    output, seen = tmp_path / "out", []
    real = conversion._contents

    def interrupted(source, start, encoding):
        for index, content in real(source, start, encoding):
            if index == 5:
                raise KeyboardInterrupt
            yield index, content

    def counted(source, start, encoding):
        seen.append(start)
        return real(source, start, encoding)

    monkeypatch.setattr(conversion, "_contents", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert_images(tree, output, format=name)
    monkeypatch.setattr(conversion, "_contents", counted)
    convert_images(tree, output, format=name)
    expected = {"recordio": 5, "webdataset": 4, "lmdb": 4, "folder": 0}
    assert seen == [expected[name]]
    assert read_back(open_images(output)) == contents_of(tree)
    convert_images(tree, tmp_path / "whole", format=name)
    for path in (tmp_path / "whole").rglob("*"):
        if path.is_file() and path.name not in ("conversion.json", "lock.mdb"):
            other = output / path.relative_to(tmp_path / "whole")
            if name != "lmdb":
                assert other.read_bytes() == path.read_bytes(), path
    left = [path.name for path in output.iterdir() if "partial" in path.name]
    assert not left


def test_images_are_encoded_anew_where_that_is_asked(tree, tmp_path):
    convert_images(tree, tmp_path / "png", format="folder", encode="png")
    source = open_images(tmp_path / "png")
    original = open_images(tree)
    for i in range(9):
        image = Image.open(io.BytesIO(source.read(i)))
        assert image.format == "PNG"
        expected = Image.open(io.BytesIO(original.read(i))).convert("RGB")
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
    convert_images(tree, tmp_path / "small", format="recordio", image_size=8)
    small = open_images(tmp_path / "small")
    assert Image.open(io.BytesIO(small.read(0))).size == (8, 8)


def test_the_command_says_what_it_wrote(tree, tmp_path, capsys):
    command.FLAGS(
        [
            "hyperface-convert",
            f"--input={tree}",
            f"--output={tmp_path / 'out'}",
            "--format=webdataset",
        ]
    )
    try:
        command.main()
    finally:
        for flag in command.FLAGS:
            command.FLAGS[flag].unparse()
    assert "out: 9 images as webdataset" in capsys.readouterr().out
    assert tarfile.is_tarfile(tmp_path / "out" / "000000.tar")
    assert pathlib.Path(tmp_path / "out" / "labels.csv").is_file()
