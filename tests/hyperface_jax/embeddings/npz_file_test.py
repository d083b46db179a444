"""Files that can't be read are refused in one line, the same one by every reader."""

import io
import os
import zipfile

import jax
import numpy as np
import pytest

from hyperface_jax import EmbeddingIndex, InputError, load_embeddings
from hyperface_jax import save_embeddings as save
from hyperface_jax.packing import checkpoint
from tests.hyperface_jax import packing_oracles

ROWS = packing_oracles.random_rows(12, 5)
HUGE = "{'descr': '<f4', 'fortran_order': %s, 'shape': (1000000000000, 512)}"
STATE = {"x": np.zeros((6, 4), np.float32), "n": np.int32(3)}
LIKE = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), STATE)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.npz"


def read_checkpoint(path):
    return checkpoint.load(path, LIKE, "mine")


READERS = {
    "whole": load_embeddings,
    "index": EmbeddingIndex.load,
    "checkpoint": read_checkpoint,
}


@pytest.fixture(params=READERS)
def read(request):
    return READERS[request.param]


def write_header(path, text, version=1, compression=zipfile.ZIP_STORED):
    """An embedding file of whose rows the header is ``text``."""
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    header = b"\x93NUMPY" + bytes([version, 0]) + length + text.encode("latin1")
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("embeddings.npy", header + ROWS.tobytes())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not a readable .* \(it is empty\)"),
        (b"embeddings", r"not a readable .* \(File is not a zip file\)"),
        (b"\x93NUMPY\1\0", r"a bare \.npy array"),
        (b"PK\5\6" + bytes(10), "not a readable"),
    ],
)
def test_other_files(read, path, content, message):
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{path}: {message}"):
        read(path)


def test_folders_and_files_that_are_not_there(read, tmp_path):
    with pytest.raises(InputError, match=f"^{tmp_path}: is a folder"):
        read(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"file/rows\.npz|can't be opened"):
        load_embeddings(tmp_path / "file" / "rows.npz")
    for name in (None, 3, "", "a\0b", ["rows.npz"], np.float32(1)):
        with pytest.raises(InputError, match="must name a file"):
            read(name)
    for nobody in (load_embeddings, EmbeddingIndex.load):
        with pytest.raises(InputError, match="no such file"):
            nobody(tmp_path / "none.npz")
    assert read_checkpoint(tmp_path / "none.npz") is None


def test_pipes_are_told_without_opening_them(read, path):
    os.mkfifo(path)  # nobody writes to it: whoever opens it waits for ever
    with pytest.raises(InputError, match=f"^{path}: is a pipe, expected a file"):
        read(path)
    reading, writing = os.pipe()
    name = f"/dev/fd/{reading}"
    try:
        if os.path.exists(name):
            with pytest.raises(InputError, match=f"^{name}: is a pipe"):
                read(name)
    finally:
        os.close(reading)
        os.close(writing)
    with pytest.raises(InputError, match=f"^{os.devnull}: is a device"):
        read(os.devnull)


def test_a_file_that_may_not_be_read(read, path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    save(path, ROWS, kind="gallery")
    if os.geteuid():
        path.chmod(0)
    else:
        # Whoever runs the tests as root may read everything.
        monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError, match=f"^{path}: may not be read"):
        read(path)


@pytest.mark.parametrize("reader", ["whole", "index"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HUGE % False, "claims 2048000000000000 bytes, of which 240 are there"),
        (HUGE % True, "claims 2048000000000000 bytes"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 5)}", "shape"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 5)}", "shape"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (12, 5)}", "pickled"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (12, 4", "header is dam"),
        ("(" * 9000, "header is damaged"),
        ("-" * 9000, "header is damaged"),
    ],
)
def test_headers_that_mislead(path, reader, compression, text, message):
    write_header(path, text, compression=compression)
    with pytest.raises(InputError, match=f"not a readable .*{message}"):
        READERS[reader](path)


def test_what_the_archive_itself_claims_is_compared_with_the_file(read, path):
    """The size of a member, said in the directory, is four times that of the file."""
    save(path, ROWS, kind="gallery")
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\1\2") + 20
    for offset in (place, place + 4):
        content[offset : offset + 4] = (1 << 31).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a readable"):
        read(path)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
def test_index_and_whole_read_the_same(path, compressed, order, dtype):
    write = np.savez_compressed if compressed else np.savez
    write(path, embeddings=np.asarray(ROWS.astype(dtype), order=order))
    whole, index = load_embeddings(path), EmbeddingIndex.load(path)
    assert isinstance(index.embeddings, np.memmap) == (not compressed and order == "C")
    # An index in memory has made its rows exactly unit.
    np.testing.assert_allclose(whole.embeddings, index.embeddings, atol=1e-3)
    assert whole.embeddings.flags.writeable


@pytest.mark.parametrize(
    "arrays",
    [
        {"rows": ROWS},
        {"embeddings": ROWS[0]},
        {"embeddings": ROWS[:0]},
        {"embeddings": np.arange(12).reshape(3, 4)},
        {"embeddings": ROWS, "labels": np.arange(3)},
        {"embeddings": ROWS, "names": np.arange(12)},
        {"embeddings": ROWS, "metadata": np.array("{")},
    ],
)
def test_index_and_whole_refuse_in_the_same_words(path, arrays):
    np.savez(path, **arrays)
    said = set()
    for read in (load_embeddings, EmbeddingIndex.load):
        with pytest.raises(InputError) as refusal:
            read(path)
        said.add(str(refusal.value))
    assert len(said) == 1


def test_texts_of_what_is_no_character(path):
    units = np.full(12, ord("a"), np.uint32)
    units[3] = 0x110000
    np.savez(path, embeddings=ROWS, names=units.view("<U1"))
    with pytest.raises(InputError, match="no character"):
        load_embeddings(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("metadata", np.array("{}"), "not a readable checkpoint"),
        ("metadata", np.array("[1]"), "not a readable checkpoint"),
        ("history", np.zeros((2, 4), np.float32), "of another version"),
        ("history", None, "of another version"),
        ("state_0", np.zeros(3), "of another version"),
        ("state_1", None, "of another version"),
    ],
)
def test_checkpoints_that_lack_something(path, key, value, message):
    found = checkpoint.Checkpoint(3, 1.5, STATE, np.zeros((3, 4)))
    checkpoint.save(path, found, "mine")
    assert read_checkpoint(path).iteration == 3
    with np.load(path) as content:
        arrays = dict(content) | {key: value}
    np.savez(path, **{name: a for name, a in arrays.items() if a is not None})
    with pytest.raises(InputError, match=f"{message}.*delete it to start afresh"):
        read_checkpoint(path)


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """``content`` with some bytes changed, cut off, put in or taken out."""
    data = bytearray(content)
    for _ in range(random.integers(1, 4)):
        # Near an end, where the structure is, as often as anywhere.
        ends = (random.integers(150), len(data) - 1 - random.integers(500))
        where = int(random.choice([random.integers(len(data)), *ends]))
        where = min(max(where, 0), len(data) - 1)
        some = random.bytes(int(random.integers(1, 5)))
        cut = random.choice([where + 1, where + 3, len(data)], p=[0.5, 0.4, 0.1])
        data[where:cut] = some
    return bytes(data)


def test_mutated_files_are_read_or_refused(path):
    random = np.random.default_rng(0)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, embeddings=ROWS, labels=np.arange(12))
    save(path, ROWS, kind="gallery", labels=list("aabbccddeeff"), names=["x"] * 12)
    refused = 0
    for content in (buffer.getvalue(), path.read_bytes()):
        for _ in range(150):
            path.write_bytes(mutated(content, random))
            for read in READERS.values():
                try:
                    read(path)
                except InputError as refusal:
                    assert str(path) in str(refusal)
                    refused += 1
    assert refused > 500
