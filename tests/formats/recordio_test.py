"""RecordIO against a reader and a writer made here from the format's description."""

import struct

import numpy as np
import pytest

from bridges.datasets.conversion import convert_images
from bridges.datasets.image_source import open_images
from bridges.datasets.images import encode_jpeg
from hyperface_jax import InputError
from tests.datasets.small_datasets import picture
from tests.formats.people import content_of, png, read, write_people

MAGIC = struct.pack("<I", 0xCED7230A)


def records_of(content: bytes) -> dict[int, bytes]:
    """The payloads by offset: dmlc's recordio, read from one end to the other."""
    found, at, begun, parts = {}, 0, None, []
    while at < len(content):
        magic, word = struct.unpack_from("<4sI", content, at)
        kind, length = word >> 29, word & 0x1FFFFFFF
        assert magic == MAGIC and at % 4 == 0
        assert kind in ((0, 1) if begun is None else (2, 3))
        begun = at if begun is None else begun
        parts.append(content[at + 8 : at + 8 + length])
        at += 8 + (length + 3) // 4 * 4
        if kind in (0, 3):
            found[begun] = MAGIC.join(parts)
            begun, parts = None, []
    assert begun is None and at == len(content)
    return found


def unpacked(payload: bytes) -> tuple[list[float], int, bytes]:
    """Labels, id and image."""
    flag, label, key, _ = struct.unpack_from("<IfQQ", payload)
    if not flag:
        return [label], key, payload[24:]
    labels = struct.unpack_from(f"<{flag}f", payload, 24)
    return list(labels), key, payload[24 + 4 * flag :]


def write_records(folder, payloads, keys=None):
    """Writes train.rec and train.idx, none of whose payloads holds the magic."""
    content, lines = b"", []
    for number, payload in enumerate(payloads):
        lines.append(f"{keys[number] if keys else number}\t{len(content)}\n")
        content += struct.pack("<4sI", MAGIC, len(payload))
        content += payload + bytes(-len(payload) % 4)
    folder.mkdir(exist_ok=True)
    (folder / "train.rec").write_bytes(content)
    (folder / "train.idx").write_text("".join(lines))
    return folder / "train.rec"


def image_payload(label, image=None, flag=0, extra=b""):
    return struct.pack("<IfQQ", flag, label, 0, 0) + extra + (image or png(int(label)))


@pytest.fixture
def written(tmp_path):
    people = write_people(tmp_path / "people")
    # The magic at each place of a word, twice in a row and at the end.
    start = encode_jpeg(picture(1))
    for i, shift in enumerate([0, 1, 2, 3]):
        # 24 bytes of header come before; these are a multiple of four.
        body = start + bytes(-len(start) % 4 + shift)
        image = body + MAGIC + b"x" * 6 + MAGIC + MAGIC + MAGIC[:3]
        (people / "bob" / f"z{i}.jpg").write_bytes(image + MAGIC * (i % 2))
    convert_images(people, tmp_path / "rec", format="recordio")
    return people, tmp_path / "rec"


def test_what_is_written_is_read_by_a_reader_of_ones_own(written):
    people, folder = written
    expected = content_of(open_images(people))
    records = records_of((folder / "train.rec").read_bytes())
    index = dict(
        map(int, line.split("\t"))
        for line in (folder / "train.idx").read_text().splitlines()
    )
    assert sorted(index.values()) == sorted(records)
    assert sorted(index) == list(range(1 + len(expected) + 3))
    # Some payload was split, so that the test is of the splitting as well.
    assert (folder / "train.rec").read_bytes().count(MAGIC) > len(records) + 8
    header, key, rest = unpacked(records[index[0]])
    assert (header, key, rest) == ([len(expected) + 1, len(expected) + 4], 0, b"")
    table = (folder / "labels.csv").read_text("utf-8").splitlines()
    assert table == ["label,identity,images", "0,ann,3", "1,bob,7", "2,zoë,3"]
    names = [line.split(",")[1] for line in table[1:]]
    for number in range(1, int(header[0])):
        labels, key, image = unpacked(records[index[number]])
        assert key == number
        assert (names[int(labels[0])], image) == expected[number - 1]
    # Who has which keys.
    for person in range(int(header[0]), int(header[1])):
        (first, behind), _, _ = unpacked(records[index[person]])
        for number in range(int(first), int(behind)):
            assert unpacked(records[index[number]])[0] == [person - header[0]]
    listed = (folder / "train.lst").read_text("utf-8").splitlines()
    assert listed[0] == "1\t0\tann/photo 0.jpg" and len(listed) == len(expected)
    assert (folder / "property").read_text() == "3,16,16\n"


def test_and_read_back(written):
    people, folder = written
    expected = content_of(open_images(people))
    assert read(folder) == read(folder / "train.rec") == expected
    (folder / "train.idx").unlink()
    assert read(folder) == expected
    (folder / "labels.csv").unlink()
    source = open_images(folder)
    assert source.identities == [0, 1, 2]
    assert source.records[0]["file_name"] == "ann/photo 0.jpg"
    assert [image for _, image in content_of(source)] == [i for _, i in expected]


def test_without_a_header_record_and_with_several_labels(tmp_path):
    images = [png(i) for i in range(4)]
    labels = [5, 9, 5, 7]
    payloads = [
        image_payload(label, image)
        for label, image in zip(labels[:3], images, strict=False)
    ]
    # insightface keeps whether a face is aligned behind the label.
    extra = struct.pack("<2f", 7, 1)
    payloads.append(image_payload(0, images[3], flag=2, extra=extra))
    write_records(tmp_path / "a", payloads)
    source = open_images(tmp_path / "a" / "train.rec")
    assert source.identities == [5, 7, 9]
    assert source.labels.tolist() == [0, 2, 0, 1]
    assert content_of(source) == list(zip(labels, images, strict=True))
    (tmp_path / "a" / "train.tsv").write_text(
        "".join(f"{i}\tsub/{i}.png\t{x}\n" for i, x in enumerate(labels))
    )
    source = open_images(tmp_path / "a")
    assert [r["file_name"] for r in source.records] == [
        f"sub/{i}.png" for i in range(4)
    ]


def test_images_of_a_person_are_put_together(tmp_path):
    payloads = [image_payload(label, png(i)) for i, label in enumerate([4, 2, 4, 2, 3])]
    write_records(tmp_path / "a", payloads)
    convert_images(tmp_path / "a", tmp_path / "b", format="recordio")
    source = open_images(tmp_path / "b")
    assert source.labels.tolist() == [0, 0, 1, 2, 2] and source.identities == [2, 3, 4]
    assert source.read(0) == png(1) and source.read(4) == png(2)


def refused(path, words):
    with pytest.raises(InputError, match=words) as caught:
        open_images(path)
    assert "\n" not in str(caught.value) and str(path.parent) in str(caught.value)


def test_an_index_of_another_file_is_refused(tmp_path):
    sizes = [40, 60, 80]
    one = write_records(
        tmp_path / "a", [image_payload(1, png(1) + bytes(n)) for n in sizes]
    )
    two = write_records(
        tmp_path / "b", [image_payload(1, png(1) + bytes(n)) for n in (44, 60, 80)]
    )
    whole = (tmp_path / "b" / "train.idx").read_text()
    (tmp_path / "b" / "train.idx").write_bytes(
        (tmp_path / "a" / "train.idx").read_bytes()
    )
    refused(two, r"train\.idx: key 1 points to byte .*where no record .* begins")
    assert len(open_images(one)) == 3
    (tmp_path / "b" / "train.idx").write_text("".join(whole.splitlines(True)[:2]))
    refused(two, "names 2 records, .* has 3")
    again = whole.splitlines(True)[:2] + [f"2\t{whole.split()[3]}\n"]
    (tmp_path / "b" / "train.idx").write_text("".join(again))
    refused(two, "names 2 records, .* has 3")
    (tmp_path / "b" / "train.idx").write_text(whole + "3\t1000000\n")
    refused(two, "key 3 points to byte 1,000,000, past the end of train.rec")
    (tmp_path / "b" / "train.idx").write_text(whole + "0\t0\n")
    refused(two, "key 0 is there twice")
    (tmp_path / "b" / "train.idx").write_text(whole + "3\x1d\t0\n")
    refused(two, "line 4 is not a key, a tab and an offset")
    (tmp_path / "b" / "train.idx").write_text(whole + "x\t0\n")
    refused(two, "line 4 is not a key, a tab and an offset")


def test_truncated_and_foreign_files_are_refused(tmp_path):
    path = write_records(tmp_path / "a", [image_payload(1), image_payload(2)])
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    refused(path, "ends in the middle of the record")
    path.write_bytes(b"JUNK" + content[4:])
    refused(path, "no RecordIO record at byte 0")
    write_records(tmp_path / "a", [image_payload(0.5, png(0))])
    refused(path, "label 0.5, expected a whole number")
    write_records(tmp_path / "a", [image_payload(float("nan"), png(0))])
    refused(path, "label nan, expected a whole number")
    write_records(tmp_path / "a", [image_payload(1, flag=1000)])
    refused(path, "claims 1,000 labels")
    header = struct.pack("<IfQQ2f", 2, 0, 0, 0, 4, 5)
    write_records(tmp_path / "a", [header, image_payload(1)])
    refused(path, "promises 3 images, there are 1")
    (tmp_path / "a" / "other.rec").write_bytes(b"")
    with pytest.raises(InputError, match=r"2 \.rec files \(other.rec, train.rec\)"):
        open_images(tmp_path / "a")


def test_a_file_cut_after_it_was_opened_names_the_image(tmp_path):
    path = write_records(tmp_path / "a", [image_payload(1), image_payload(2)])
    source = open_images(path)
    path.write_bytes(path.read_bytes()[:-40])
    assert source.read(0) == png(1)
    with pytest.raises(InputError, match=r"train\.rec/00000001: the file ends before"):
        source.read(1)


def test_labels_beyond_float32_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("bridges.datasets.formats.recordio_writer._MOST", 8)
    people = write_people(tmp_path / "people")
    with pytest.raises(InputError, match="RecordIO numbers at most 8"):
        convert_images(people, tmp_path / "rec", format="recordio")


def test_a_fingerprint_changes_with_bytes_and_labels(tmp_path):
    def of(labels, seed):
        payloads = [image_payload(label, png(seed)) for label in labels]
        return open_images(write_records(tmp_path / "a", payloads)).fingerprint()

    made = [of([1, 2], 0), of([1, 1], 0), of([1, 2], 1), of([1, 2], 0)]
    assert made[0] == made[3] and len(set(made)) == 3
    assert np.all([len(one) == 64 for one in made])
