"""What others write is read; what is damaged or meant harm is refused by name."""

import io
import json
import pickle
import struct
import tarfile
import zipfile

import pytest

from bridges.datasets.conversion import convert_images
from bridges.datasets.image_source import open_images
from hyperface_jax import InputError
from tests.formats.conftest import contents_of, encoded, read_back


def record(content: bytes, kind: int = 0) -> bytes:
    word = struct.pack("<II", 0xCED7230A, kind << 29 | len(content))
    return word + content + bytes(-len(content) % 4)


def write_records(folder, records, index=True):
    folder.mkdir(exist_ok=True)
    raw, lines = b"", []
    for key, content in records:
        lines.append(f"{key}\t{len(raw)}\n")
        raw += record(content)
    (folder / "train.rec").write_bytes(raw)
    if index:
        (folder / "train.idx").write_text("".join(lines))
    return folder / "train.rec"


def labelled(label: float, image: bytes, flag: int = 0, *labels: float) -> bytes:
    head = struct.pack("<IfQQ", flag, label, 0, 0)
    return head + struct.pack(f"<{len(labels)}f", *labels) + image


IMAGES = [encoded(k, "jpg") for k in range(4)]


def test_records_of_other_writers(tmp_path):
    """Without header record, without index, with several labels, keys in any order."""
    rows = [(k, labelled(k // 2, image)) for k, image in enumerate(IMAGES)]
    for index in (True, False):
        found = open_images(write_records(tmp_path / f"{index}", rows, index))
        assert found.identities == [0, 1] and found.labels.tolist() == [0, 0, 1, 1]
        assert [found.read(i) for i in range(4)] == IMAGES
    several = [
        (9 - k, labelled(0, image, 2, 5 + k % 2, 7)) for k, image in enumerate(IMAGES)
    ]
    found = open_images(write_records(tmp_path / "several", several))
    assert found.identities == [5, 6] and found.read(0) == IMAGES[3]
    # insightface: images, then a record a person, which the header tells apart.
    people = [(5 + k, labelled(0, b"", 2, 1, 3)) for k in range(2)]
    header = [(0, labelled(0, b"", 2, 5, 7))]
    rows = [(1 + k, labelled(k // 2, image)) for k, image in enumerate(IMAGES)]
    found = open_images(write_records(tmp_path / "people", header + rows + people))
    assert len(found) == 4 and [found.read(i) for i in range(4)] == IMAGES


def test_damaged_records_are_named(tmp_path):
    rows = [(k, labelled(0, image)) for k, image in enumerate(IMAGES)]
    path = write_records(tmp_path / "a", rows)
    whole = path.read_bytes()

    def refused(reason):
        with pytest.raises(InputError, match=reason) as error:
            open_images(path)
        assert "\n" not in str(error.value)

    index = path.with_suffix(".idx")
    of_another = "".join(f"{k}\t{40 * k}\n" for k in range(4))
    index.write_text(of_another)
    refused(r"train\.rec: no record at byte 40, where its index has 1; copy")
    index.write_text("0\t0\n1\t99999999\n")
    refused(r"train\.idx: line 2 points to byte 99,999,999, behind the end")
    index.write_text("0\t0\nx\n")
    refused(r"train\.idx: line 2 is no key, tab and offset")
    index.write_text("0\t0\n0\t0\n")
    refused(r"train\.idx: a key on two lines")
    index.unlink()
    path.write_bytes(whole[:-100])
    refused(r"the record at byte [\d,]+ is cut off")
    path.write_bytes(b"no records at all")
    refused("no record at byte 0")
    path.write_bytes(b"")
    refused("no images in it")
    path.write_bytes(record(labelled(float("nan"), IMAGES[0])))
    refused("has the label nan, expected a whole number")


def test_tars_of_other_writers(tmp_path):
    path = tmp_path / "x.tar"

    def write(*members):
        with tarfile.open(path, "w") as archive:
            for name, content in members:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))

    write(("a/1.jpg", IMAGES[0]), ("a/1.json", b'{"label": 7}'), ("b/1.jpg", IMAGES[1]))
    with pytest.raises(
        InputError, match=r"1 of 2 images have no label, b/1\.jpg first"
    ):
        open_images(path)
    write(("1.jpg", IMAGES[0]), ("1.cls", b"7\n"), ("1.txt", b"a caption"))
    found = open_images(path)
    assert found.identities == [7] and found.read(0) == IMAGES[0]
    write(("1.jpg", IMAGES[0]), ("2.JPG", IMAGES[1]))
    assert not open_images(path).labelled
    for name in ("../1.jpg", "/etc/1.jpg", "a/../../1.jpg", "..\\1.jpg"):
        write((name, IMAGES[0]))
        with pytest.raises(InputError, match="leads out of the archive"):
            open_images(path)
    write(("1.jpg", IMAGES[0]), ("1.png", IMAGES[1]))
    with pytest.raises(InputError, match="two images named 1"):
        open_images(path)
    write(("1.jpg", IMAGES[0]), ("1.cls", b"ann"))
    with pytest.raises(InputError, match="holds 'ann', expected the number"):
        open_images(path)
    write(("1.jpg", IMAGES[0]), ("2.jpg", IMAGES[1]))
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(InputError, match=r"cut off|damaged"):
        open_images(path)
    path.write_bytes(b"\x1f\x8b compressed")
    with pytest.raises(InputError, match="not a plain tar archive, or a damaged one"):
        open_images(path)


def test_zips_of_other_writers(tree, tmp_path):
    path = tmp_path / "x.zip"

    def write(*members, compression=zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in members:
                archive.writestr(name, content)

    members = [
        (f"faces of 2026/{person}/{k}.jpg", content)
        for person, contents in contents_of(tree).items()
        for k, content in enumerate(contents)
    ]
    write(*members, ("__MACOSX/._x.jpg", b"x"), ("faces of 2026/notes.txt", b"x"))
    found = open_images(path)
    assert read_back(found) == contents_of(tree)
    assert pickle.loads(pickle.dumps(found)).read(2) == found.read(2)
    labels = {"labels": [["0/a.jpg", 3], ["0/b.jpg", 4]]}
    images = [("0/a.jpg", IMAGES[0]), ("0/b.jpg", IMAGES[1])]
    write(("dataset.json", json.dumps(labels)), *images)
    assert open_images(path).identities == [3, 4]
    write(("../a.jpg", IMAGES[0]))
    with pytest.raises(InputError, match="leads out of the archive"):
        open_images(path)
    write(("ann/a.jpg", bytes(2**25)))
    with pytest.raises(InputError, match="would be 33,554,432 bytes of"):
        open_images(path)
    write(("ann/a.jpg", IMAGES[0]), compression=zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    raw[60] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"ann/a\.jpg: damaged in the zip"):
        open_images(path).read(0)
    path.write_bytes(b"PK no zip")
    with pytest.raises(InputError, match="no zip, or a damaged one"):
        open_images(path)


def test_lmdbs_of_other_writers(tmp_path):
    import lmdb
    import msgpack

    def write(name, *entries):
        with lmdb.open(str(tmp_path / name), map_size=2**24) as environment:
            with environment.begin(write=True) as transaction:
                for key, value in entries:
                    transaction.put(key, value)
        return tmp_path / name

    rows = [(str(k).encode(), msgpack.packb([IMAGES[k], k // 2])) for k in range(4)]
    found = open_images(write("plain", *rows))
    assert found.identities == [0, 1] and found.read(3) == IMAGES[3]
    assert open_images(tmp_path / "plain" / "data.mdb").read(2) == IMAGES[2]
    with pytest.raises(InputError, match="the key b'ann', expected numbers"):
        open_images(write("names", (b"ann", b"x")))
    with pytest.raises(InputError, match="image 0 is packed in another way"):
        open_images(write("pickled", (b"0", pickle.dumps((IMAGES[0], 1)))))
    damaged = tmp_path / "plain" / "data.mdb"
    damaged.write_bytes(damaged.read_bytes()[:5000])
    with pytest.raises(InputError, match="damaged"):
        open_images(tmp_path / "plain")
    damaged.write_bytes(b"nothing of the kind" * 1000)
    with pytest.raises(InputError, match="no LMDB, or a damaged one"):
        open_images(tmp_path / "plain")


def test_tables_of_hugging_face(tmp_path):
    import datasets

    names = datasets.ClassLabel(names=["ann", "bob"])
    features = datasets.Features({"image": datasets.Image(), "label": names})
    rows = {
        "image": [{"bytes": i, "path": None} for i in IMAGES],
        "label": [0, 0, 1, 1],
    }
    table = datasets.Dataset.from_dict(rows, features=features)
    table.save_to_disk(tmp_path / "a")
    found = open_images(tmp_path / "a")
    assert found.identities == ["ann", "bob"] and found.read(1) == IMAGES[1]
    datasets.Dataset.from_dict({"text": ["x"]}).save_to_disk(tmp_path / "b")
    with pytest.raises(InputError, match="no column image in it, but text"):
        open_images(tmp_path / "b")
    elsewhere = {"image": [{"bytes": None, "path": "/etc/hostname"}], "label": [0]}
    datasets.Dataset.from_dict(elsewhere).save_to_disk(tmp_path / "c")
    with pytest.raises(InputError, match="lies elsewhere, by its path"):
        open_images(tmp_path / "c").read(0)


def test_stylegan_folders(tree, tmp_path):
    convert_images(tree, tmp_path / "out", format="stylegan")
    place = tmp_path / "out" / "dataset.json"
    pairs = json.loads(place.read_text())["labels"]
    place.write_text(json.dumps({"labels": pairs[1:]}))
    with pytest.raises(InputError, match=r"no label for 00000/img00000000\.png and 0"):
        open_images(tmp_path / "out")
    place.write_text(json.dumps({"labels": [[name, [0.5, 1]] for name, _ in pairs]}))
    found = open_images(tmp_path / "out")
    assert not found.labelled and found.records[0]["label"] == [0.5, 1]
    place.write_text(json.dumps({"labels": None}))
    assert not open_images(tmp_path / "out").labelled
