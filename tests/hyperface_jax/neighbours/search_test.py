"""Search against brute force, in memory and from disk."""

import numpy as np
import pytest

from hyperface_jax import EmbeddingIndex, InputError, load_embeddings, save_embeddings
from hyperface_jax.neighbours import search
from tests.hyperface_jax import packing_oracles

ROWS = packing_oracles.random_rows(100, 6)
QUERIES = packing_oracles.random_rows(30, 6, seed=1)
DENSE = QUERIES @ ROWS.T


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces and parts small enough that there are several."""
    monkeypatch.setattr(search, "ROWS_AT_ONCE", 48)
    monkeypatch.setattr(search, "_QUERIES_AT_ONCE", 13)


@pytest.mark.parametrize("block_size", [None, 1, 7, 40])
@pytest.mark.parametrize("k", [1, 5, 100])
def test_equals_brute_force(small_pieces, block_size, k):
    cosines, found = EmbeddingIndex(ROWS, block_size=block_size).search(QUERIES, k)
    order = np.argsort(-DENSE, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found, order)
    expected = np.take_along_axis(DENSE, order, axis=1)
    np.testing.assert_allclose(cosines, expected, atol=1e-6)


@pytest.mark.parametrize("block_size", [2, 16, 33])
def test_equal_rows_come_in_order(small_pieces, block_size):
    rows = np.eye(4, dtype=np.float32)[np.arange(100) % 3]
    cosines, found = EmbeddingIndex(rows, block_size=block_size).search(rows[:3], 40)
    dense = rows[:3] @ rows.T
    order = np.argsort(-dense, axis=1, kind="stable")[:, :40]
    np.testing.assert_array_equal(found, order)
    np.testing.assert_array_equal(cosines, np.take_along_axis(dense, order, axis=1))


def test_range_search_equals_brute_force(small_pieces):
    found = EmbeddingIndex(ROWS, block_size=7).range_search(QUERIES, 0.6)
    assert found.offsets[-1] == (DENSE >= 0.6).sum() > 0
    for query in range(30):
        own = slice(*found.offsets[query : query + 2])
        expected = np.flatnonzero(DENSE[query] >= 0.6)
        assert sorted(found.rows[own]) == expected.tolist()
        np.testing.assert_allclose(
            found.cosines[own], np.sort(DENSE[query, expected])[::-1], atol=1e-6
        )
    nothing = EmbeddingIndex(ROWS).range_search(-ROWS[:1], 1.0)
    assert nothing.offsets.tolist() == [0, 0]


def test_duplicates_are_found_once(small_pieces):
    rows = ROWS.copy()
    rows[[70, 99]] = rows[3]
    pairs, cosines = EmbeddingIndex(rows, block_size=16).duplicates(0.9999)
    assert pairs.tolist() == [[3, 70], [3, 99], [70, 99]]
    np.testing.assert_allclose(cosines, 1, atol=1e-6)
    dense = np.triu(rows @ rows.T, 1)
    pairs, _ = EmbeddingIndex(rows, block_size=16).duplicates(0.8)
    np.testing.assert_array_equal(pairs, np.argwhere(dense >= 0.8))


def test_from_disk_equals_from_memory(small_pieces, tmp_path):
    path = tmp_path / "gallery.npz"
    EmbeddingIndex(ROWS).save(path, names=[str(i) for i in range(100)])
    index = EmbeddingIndex.load(path, block_size=10)
    assert len(index) == 100
    expected = EmbeddingIndex(ROWS, block_size=10).search(QUERIES, 4)
    np.testing.assert_array_equal(index.search(QUERIES, 4), expected)
    assert isinstance(index.embeddings, np.memmap)
    assert index.about.names[99] == "99"


def test_a_compressed_file_is_read_whole(tmp_path):
    path = tmp_path / "gallery.npz"
    np.savez_compressed(path, embeddings=ROWS, names=np.arange(100).astype(str))
    index = EmbeddingIndex.load(path)
    np.testing.assert_array_equal(
        index.search(QUERIES), EmbeddingIndex(ROWS).search(QUERIES)
    )
    assert index.about.names[99] == "99"


def test_bad_rows_on_disk_are_found_when_they_are_read(small_pieces, tmp_path):
    rows = ROWS.copy()
    rows[60] *= 2
    np.savez(tmp_path / "bad.npz", embeddings=rows)
    index = EmbeddingIndex.load(tmp_path / "bad.npz")
    with pytest.raises(InputError, match="from row 48: row 12 is not of unit length"):
        index.search(QUERIES)


def test_refusals(tmp_path):
    index = EmbeddingIndex(packing_oracles.random_rows(5, 4))
    queries = packing_oracles.random_rows(2, 4)
    for k, message in (
        (0, "k is 0"),
        (6, "k is 6, but the index holds only 5"),
        (2.0, "k is 2.0, must be a whole number"),
        (True, "k is True, must be a whole number"),
    ):
        with pytest.raises(InputError, match=message):
            index.search(queries, k)
    with pytest.raises(InputError, match="columns"):
        index.search(packing_oracles.random_rows(2, 3), 1)
    for block_size in (0, 8.0):
        with pytest.raises(InputError, match=f"block_size is {block_size}"):
            EmbeddingIndex(queries, block_size=block_size)
    with pytest.raises(InputError, match="min_cosine is"):
        index.range_search(queries, 1.5)
    np.savez(tmp_path / "other.npz", rows=queries)
    (tmp_path / "text.npz").write_text("nothing")
    save_embeddings(tmp_path / "good.npz", queries, kind="gallery")
    assert len(EmbeddingIndex.load(tmp_path / "good.npz")) == 2
    for name, message in (
        ("none.npz", "no such file"),
        ("other.npz", r"no key 'embeddings' \(found rows\)"),
        ("text.npz", r"not a readable \.npz file"),
    ):
        with pytest.raises(InputError, match=message):
            EmbeddingIndex.load(tmp_path / name)


@pytest.mark.parametrize("read", [EmbeddingIndex.load, load_embeddings])
def test_rows_that_seem_encrypted_are_refused(read, tmp_path):
    path = tmp_path / "gallery.npz"
    save_embeddings(path, ROWS, kind="gallery")
    content = bytearray(path.read_bytes())
    # Flags stand 6 bytes into a member's header, and 8 into its entry of the directory.
    content[content.index(b"PK\x03\x04") + 6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="encrypted"):
        read(path)
