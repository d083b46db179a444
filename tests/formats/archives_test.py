"""Zip and tar archives: layouts, independent readers, and bad ones."""

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile

import pytest
import webdataset

from bridges.datasets.conversion import convert_images
from bridges.datasets.formats import webdataset_writer, zip_writer
from bridges.datasets.formats.writer import ConvertedImage
from bridges.datasets.image_source import open_images
from hyperface_jax import InputError
from tests.formats.people import NAMES, content_of, png, read, write_people


def write_zip(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_tar(path, members, kind=tarfile.GNU_FORMAT):
    with tarfile.open(path, "w", format=kind) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


WRITERS = {".zip": write_zip, ".tar": write_tar}


@pytest.fixture(params=WRITERS)
def archive(request, tmp_path):
    """Writes an archive of given members and returns its path."""
    return lambda members, **how: WRITERS[request.param](
        tmp_path / f"a{request.param}", members, **how
    )


TREE = {
    "faces/ann/1.png": png(1),
    "faces/ann/2.png": png(2),
    "faces/bob/1.png": png(3),
    "faces/readme.txt": b"hello",
    "__MACOSX/faces/ann/1.png": b"junk",
    "faces/ann/.hidden.png": b"junk",
}


def test_folders_in_an_archive_are_people(archive, capsys):
    path = archive(TREE)
    source = pickle.loads(pickle.dumps(open_images(path)))
    assert content_of(source) == [("ann", png(1)), ("ann", png(2)), ("bob", png(3))]
    said = capsys.readouterr().err
    assert "3 images of 2 people: ann, bob" in said
    assert (
        "not an image by its suffix: faces/readme.txt" in said or path.suffix == ".tar"
    )


def test_a_flat_archive_and_one_of_a_person(archive):
    assert not open_images(archive({"1.png": png(1), "2.png": png(2)})).labelled
    members = {"x/ann/1.png": png(1), "x/ann/2.png": png(2)}
    assert open_images(archive(members)).identities == ["ann"]


def test_unclear_folders_are_refused_unless_decided(archive):
    path = archive({"train/ann/1.png": png(1), "test/ann/2.png": png(2)})
    with pytest.raises(InputError, match="have the same last name"):
        open_images(path)
    assert open_images(path, identity_from="last").identities == ["ann"]
    assert len(open_images(path, identity_from="path").identities) == 2


def test_metadata_in_an_archive(archive):
    lines = [
        {"file_name": "x/2.png", "identity": "bob"},
        {"file_name": "1.png", "identity": "ann"},
    ]
    text = "\n".join(map(json.dumps, lines)).encode()
    members = {"d/1.png": png(1), "d/x/2.png": png(2), "d/metadata.jsonl": text}
    assert read(archive(members)) == [("bob", png(2)), ("ann", png(1))]
    named = [json.dumps(x | {"identity": 0, "identity_name": "eve"}) for x in lines]
    members["d/metadata.jsonl"] = "\n".join(named).encode()
    assert open_images(archive(members)).identities == ["eve"]
    del members["d/1.png"]
    with pytest.raises(InputError, match=r"names 'd/1\.png', which is not in"):
        open_images(archive(members))


def test_labels_of_stylegan_in_an_archive(archive):
    labels = {"labels": [["00000/b.png", 4], ["00000/a.png", 2]]}
    members = {"00000/a.png": png(1), "00000/b.png": png(2)}
    members["dataset.json"] = json.dumps(labels).encode()
    assert read(archive(members)) == [(4, png(2)), (2, png(1))]
    members["00000/c.png"] = png(3)
    left_out = open_images(archive(members)).left_out
    assert left_out["not in the table of the archive"] == ["00000/c.png"]


@pytest.mark.parametrize(
    "name", ["../a.png", "x/../../a.png", "/a.png", "C:\\a.png", "..\\a.png"]
)
def test_names_that_lead_outside_are_refused(archive, name):
    with pytest.raises(InputError, match="would lie outside of the archive"):
        open_images(archive({"b.png": png(1), name: png(2)}))


def test_truncated_archives_are_refused(archive):
    path = archive({f"{name}/{i}.png": png(i) for name in NAMES for i in range(3)})
    content = path.read_bytes()
    for size in [*range(0, 3000, 64), len(content) // 2, len(content) - 10_000]:
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match="truncated or damaged") as caught:
            open_images(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_no_archive_and_an_empty_one(archive):
    with pytest.raises(InputError, match="no images in it"):
        open_images(archive({"a.txt": b"x"}))
    path = archive({})
    with pytest.raises(InputError, match="no images in it"):
        open_images(path)
    path.write_bytes(b"nothing of the kind, but long enough to be looked at" * 20)
    with pytest.raises(InputError, match="not a readable"):
        open_images(path)
    path.unlink()
    with pytest.raises(InputError, match="no such"):
        open_images(path)


def test_deflated_zips_are_read_and_bombs_are_not(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a/1.png": png(1)}, zipfile.ZIP_DEFLATED)
    assert read(path) == [("a", png(1))]
    zeros = bytes(80 * 2**20)
    write_zip(path, {"a/1.png": png(1), "a/2.png": zeros}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**18
    with pytest.raises(InputError, match=r"83,8.* bytes, .* such a zip bomb is"):
        open_images(path)
    # One whose list lies of how much its data unpack to.
    write_zip(path, {"a/1.png": zeros[: 2**20]}, zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    path.write_bytes(
        content.replace((2**20).to_bytes(4, "little"), (9000).to_bytes(4, "little"))
    )
    source = open_images(path)
    with pytest.raises(InputError, match="damaged or truncated here"):
        source.read(0)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packings_name_the_image(tmp_path, method):
    source = open_images(write_zip(tmp_path / "a.zip", {"a/1.png": png(1)}, method))
    with pytest.raises(InputError, match=r"a\.zip/a/1\.png: packed neither stored nor"):
        source.read(0)


def test_a_damaged_member_names_the_image(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a/1.png": png(1)})
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a/1\.png: the archive is damaged"):
        open_images(path).read(0)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar"])
def test_compressed_tars_are_told_from_plain_ones(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    with pytest.raises(InputError, match=r"compressed by gzip; unpack it to a plain"):
        open_images(path)


def test_links_and_devices_in_tars_do_not_count(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for kind, name in ((tarfile.SYMTYPE, "a/l.png"), (tarfile.CHRTYPE, "a/d.png")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("a/1.png")
        info.size = len(png(1))
        archive.addfile(info, io.BytesIO(png(1)))
    source = open_images(path)
    assert read(path) == [("a", png(1))]
    assert source.left_out["no file"] == ["a/l.png", "a/d.png"]


def test_damage_in_the_middle_of_a_tar_is_not_taken_for_its_end(tmp_path):
    path = write_tar(tmp_path / "a.tar", {f"a/{i}.png": png(i) for i in range(9)})
    content = bytearray(path.read_bytes())
    second = content.index(b"a/4.png")
    content[second + 150] ^= 3  # of the checksum
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"no member and no end at byte {second:,}"):
        open_images(path)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_shards_with_labels_of_others(tmp_path, kind):
    (tmp_path / "shards").mkdir()
    members = {"s/0.jpg": png(1), "s/0.cls": b"7\n", "s/1.jpg": png(2), "s/1.cls": b"3"}
    write_tar(tmp_path / "shards/b.tar", members, kind)
    long = "x" * 90 + "/" + "y" * 60 if kind == tarfile.PAX_FORMAT else "x"
    members = {f"{long}.seg.png": png(3), f"{long}.json": b'{"label": 7, "age": 3}'}
    write_tar(tmp_path / "shards/a.tar", members, kind)
    source = open_images(tmp_path / "shards")
    assert content_of(source) == [(7, png(3)), (7, png(1)), (3, png(2))]
    assert source.records[0]["age"] == 3


@pytest.mark.parametrize(
    "members, words",
    [
        ({"0.png": b"x", "0.cls": b"seven"}, "0.cls: 'seven' is no label"),
        ({"0.png": b"x", "0.cls": b"--1"}, "0.cls: '--1' is no label"),
        ({"0.png": b"x", "0.json": b"[1]"}, "0.json: expected a JSON object"),
        ({"0.png": b"x", "0.json": b"{"}, "0.json: not JSON"),
        ({"0.png": b"x", "0.json": b'{"label": 0.5}'}, "label 0.5 is no whole number"),
        ({"0.png": b"x", "0.cls": b"1", "1.png": b"x"}, "1.png: has no label, others"),
    ],
)
def test_labels_that_are_none(tmp_path, members, words):
    with pytest.raises(InputError, match=words):
        open_images(write_tar(tmp_path / "a.tar", members))


def test_webdataset_reads_the_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(webdataset_writer, "_SHARD_IMAGES", 4)
    people = write_people(tmp_path / "people")
    convert_images(people, tmp_path / "shards", format="webdataset")
    shards = sorted(map(str, (tmp_path / "shards").glob("*.tar")))
    assert len(shards) == 3
    expected = content_of(open_images(people))
    found = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert len(found) == len(expected)
    for sample, (name, image) in zip(found, expected, strict=True):
        assert (sample.get("jpg") or sample.get("png")) == image
        record = json.loads(sample["json"])
        assert record["identity"] == name
        assert (
            NAMES[int(sample["cls"])] == name and int(sample["cls"]) == record["label"]
        )
    assert read(tmp_path / "shards") == expected
    for path in (tmp_path / "shards").glob("*.tar"):
        with tarfile.open(path) as archive:
            assert all(member.isreg() for member in archive)


@pytest.mark.parametrize("many", [False, True])
def test_zipfile_reads_the_archive(tmp_path, monkeypatch, many):
    if many:  # the 64-bit records of archives of more than 65,535 members or 4 GiB
        monkeypatch.setattr(zip_writer, "_MOST_16", 5)
    people = write_people(tmp_path / "people")
    convert_images(people, tmp_path / "a.zip", format="zip")
    expected = content_of(open_images(people))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        labels = json.loads(archive.read("dataset.json"))["labels"]
        assert [(NAMES[i], archive.read(name)) for name, i in labels] == expected
        assert "labels.csv" in archive.namelist()
    assert read(tmp_path / "a.zip") == expected


def test_a_zip_beyond_4_gib(tmp_path):
    """Most of the first image is a hole in the file."""
    people = open_images(write_people(tmp_path / "people"))
    name, size = b"ann/000000.jpg", 2**32 - 10
    header = (b"PK\3\4", 20, 0x800, 0, 0, 0x21, 0, size, size, len(name), 0)
    path = tmp_path / "images"
    path.write_bytes(struct.pack("<4s5H3I2H", *header) + name)
    state = {"rows": 1, "size": 30 + len(name) + size}
    os.truncate(path, state["size"])
    writer = zip_writer.ZipWriter(tmp_path, people, state)
    for row in range(1, len(people)):
        label, content = int(people.labels[row]), people.read(row)
        writer.write(ConvertedImage(row, content, ".jpg", label, people.records[row]))
    writer.finish({})
    writer.close()
    with zipfile.ZipFile(path) as archive:
        assert archive.read("zoë/000002.jpg") == people.read(8)
    found = open_images(path.rename(tmp_path / "a.zip"))
    assert [found.read(i) for i in range(1, 9)] == [people.read(i) for i in range(1, 9)]
    with pytest.raises(InputError, match="larger than 2 GiB"):
        found.read(0)
