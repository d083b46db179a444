"""Damaged embedding files and checkpoints of packing are read, or refused by name."""

import numpy as np
import pytest

from hyperface_jax import EmbeddingIndex, load_embeddings, save_embeddings
from hyperface_jax.packing import checkpoint
from tests.fuzz.readers import survive


def search(path) -> None:
    index = EmbeddingIndex.load(path)
    index.search(np.eye(8, dtype=np.float32)[:2][:, : index.embeddings.shape[1]], 1)


def embedding_file(path, compressed: bool) -> bytes:
    save_embeddings(
        path,
        np.eye(8, dtype=np.float32),
        kind="gallery",
        labels=np.arange(8) // 2,
        names=[f"{i}.jpg" for i in range(8)],
        groups={"gender": ["female", "male"] * 4},
        model={"name": "F", "sha256": "0" * 64},
    )
    if compressed:
        with np.load(path) as content:
            np.savez_compressed(path, **content)
    return path.read_bytes()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("read", [load_embeddings, search])
def test_embedding_files(tmp_path, read, compressed):
    path = tmp_path / "gallery.npz"
    survive(path, embedding_file(path, compressed), read)


def test_checkpoints_of_packing(tmp_path):
    path = tmp_path / "checkpoint.npz"
    state = {"x": np.eye(4, dtype=np.float32), "count": np.int32(3)}
    history = np.zeros((3, 4), np.float32)
    reached = checkpoint.Checkpoint(3, 1.5, state, history)
    checkpoint.save(path, reached, "f")
    survive(path, path.read_bytes(), lambda path: checkpoint.load(path, state, "f"))
