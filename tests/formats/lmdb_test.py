"""LMDB against LMDB's own library, both ways."""

import os
import pickle
import subprocess
import sys

import lmdb
import msgpack
import pytest

from bridges.datasets.conversion import convert_images
from bridges.datasets.formats import lmdb_writer
from bridges.datasets.formats.file_ranges import FileRanges
from bridges.datasets.formats.lmdb_pages import LmdbPages
from bridges.datasets.image_source import open_images
from hyperface_jax import InputError
from tests.formats.people import NAMES, content_of, png, read, write_people


def write_lmdb(folder, entries, subdir=True, **settings):
    """Writes keys and values with the library; returns where the data are."""
    environment = lmdb.open(
        str(folder), map_size=1 << 26, subdir=subdir, sync=False, **settings
    )
    with environment.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key, value)
    environment.close()
    return folder / "data.mdb" if subdir else folder


def faces(images, **changed):
    """What Vec2Face's data hold."""
    entries = {str(i).encode(): msgpack.packb(x) for i, x in enumerate(images)}
    keys = list(entries)
    entries |= {
        b"__keys__": msgpack.packb(keys),
        b"__len__": msgpack.packb(len(keys)),
        b"__classnum__": msgpack.packb(2),
    }
    return entries | {k.encode(): v for k, v in changed.items()}


@pytest.mark.parametrize(
    "count, size", [(0, 1), (1, 10), (700, 30), (40, 9000), (9000, 3)]
)
def test_all_keys_and_values_are_those_of_the_library(tmp_path, count, size):
    entries = {
        b"key %d" % (i * 7919 % 10007): os.urandom(size + i % 5) for i in range(count)
    }
    pages = LmdbPages(FileRanges(write_lmdb(tmp_path / "a", entries)))
    assert {key: pages.read(value) for key, value in pages.items()} == entries
    assert [key for key, _ in pages.items()] == sorted(entries)


def test_a_changed_and_a_shrunk_database(tmp_path):
    """Pages that are free again, and the older of the two headers, are not read."""
    entries = {b"%d" % i: bytes(900) for i in range(300)}
    path = write_lmdb(tmp_path / "a", entries)
    environment = lmdb.open(str(tmp_path / "a"), map_size=1 << 26)
    for round_ in range(5):
        with environment.begin(write=True) as transaction:
            for i in range(40):
                transaction.delete(b"%d" % (40 * round_ + i))
                entries.pop(b"%d" % (40 * round_ + i))
            transaction.put(b"new %d" % round_, b"x" * 5000 * round_)
            entries[b"new %d" % round_] = b"x" * 5000 * round_
        pages = LmdbPages(FileRanges(path))
        assert {key: pages.read(value) for key, value in pages.items()} == entries
    environment.close()


@pytest.mark.parametrize("subdir", [True, False])
def test_layouts_of_others(tmp_path, subdir):
    images = [(png(0), 3), (png(1), b"\0" * 64, 5), (png(2), b"", 3, [1.0, 2.0])]
    folder = tmp_path / ("faces" if subdir else "faces.lmdb")
    write_lmdb(folder, faces(images), subdir=subdir)
    source = pickle.loads(pickle.dumps(open_images(folder)))
    assert content_of(source) == [(3, png(0)), (5, png(1)), (3, png(2))]
    # Nothing was written beside data that may be on a medium for reading.
    before = sorted(os.listdir(tmp_path))
    open_images(folder)
    assert sorted(os.listdir(tmp_path)) == before


def test_the_library_reads_what_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_writer, "_FIRST_ROOM", 1 << 14)  # so that it must grow
    monkeypatch.setattr(lmdb_writer, "_AT_ONCE", 4)
    people = write_people(tmp_path / "people")
    convert_images(people, tmp_path / "faces.lmdb", format="lmdb")
    expected = content_of(open_images(people))
    environment = lmdb.open(str(tmp_path / "faces.lmdb"), readonly=True, lock=False)
    with environment.begin() as transaction:
        keys = msgpack.loads(transaction.get(b"__keys__"))
        assert msgpack.loads(transaction.get(b"__len__")) == len(expected) == len(keys)
        assert msgpack.loads(transaction.get(b"__classnum__")) == 3
        found = [msgpack.loads(transaction.get(key)) for key in keys]
    assert [(NAMES[label], image) for image, _, label in found] == expected
    assert {feature for _, feature, _ in found} == {b""}
    assert keys == [b"%d" % i for i in range(len(expected))]
    environment.close()
    assert read(tmp_path / "faces.lmdb") == expected
    assert not (tmp_path / "faces.lmdb" / "lock.mdb").exists()


FOREIGN = [
    ({b"a": b"b"}, "has no key __keys__"),
    (faces([(png(0), 1)], __keys__=msgpack.packb(5)), "__keys__ are no list"),
    (faces([(png(0), 1)], __keys__=msgpack.packb([1])), "no different names"),
    (faces([(png(0), 1)], __keys__=msgpack.packb([b"0", b"0"])), "no different names"),
    (faces([(png(0), 1)], __len__=msgpack.packb(7)), "__len__ is 7 of 1 keys"),
    (faces([(png(0), 1)], __keys__=msgpack.packb([b"7"])), "names key b'7'"),
    (faces([(png(0), "ann")]), "holds no image with a label"),
    (faces([(png(0),)]), "holds no image with a label"),
    (faces([{"a": 1}]), "holds no image with a label"),
    (faces([], **{"__keys__": b"\x80\x04]\x94."}), "is not msgpack"),
    (faces([]), "no images in it"),
]


@pytest.mark.parametrize("entries, words", FOREIGN)
def test_data_of_another_writer_are_refused(tmp_path, entries, words):
    write_lmdb(tmp_path / "a", entries)
    with pytest.raises(InputError, match=words) as caught:
        open_images(tmp_path / "a")
    assert "\n" not in str(caught.value) and str(tmp_path / "a") in str(caught.value)


def test_databases_inside_and_several_values_a_key_are_refused(tmp_path):
    environment = lmdb.open(str(tmp_path / "a"), map_size=1 << 20, max_dbs=2)
    environment.open_db(b"inner")
    environment.close()
    with pytest.raises(
        InputError, match="a database of its own under the key b'inner'"
    ):
        open_images(tmp_path / "a")


def test_truncated_and_foreign_files_are_refused(tmp_path):
    path = write_lmdb(
        tmp_path / "a", faces([(png(i) + bytes(5000), 1) for i in range(9)])
    )
    content = path.read_bytes()
    for size in [0, 100, 4096, 5000, 8192, 3 * 4096, len(content) - 4096]:
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match="truncated or damaged") as caught:
            open_images(tmp_path / "a")
        assert str(path) in str(caught.value)
    path.write_bytes(b"no such thing" * 1000)
    with pytest.raises(InputError, match="not an LMDB file"):
        open_images(tmp_path / "a")
    path.write_bytes(content.replace(b"\xde\xc0\xef\xbe\1", b"\xde\xc0\xef\xbe\2"))
    with pytest.raises(InputError, match="LMDB of version 2, expected 1"):
        open_images(tmp_path / "a")


def test_without_msgpack_the_remedy_is_named(tmp_path):
    write_lmdb(tmp_path / "a", faces([(png(0), 1)]))
    program = (
        "import sys; sys.modules['msgpack'] = None\n"
        "from bridges.datasets.image_source import open_images\n"
        f"open_images({str(tmp_path / 'a')!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "needs the package msgpack" in last
    assert "pip install '.[formats]' in the clone" in last
