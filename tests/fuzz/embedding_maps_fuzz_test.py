"""Damaged embedding maps are read, or refused by name."""

from bridges import fit_embedding_map, load_embedding_map, save_embedding_map
from tests.embedding_maps.planted import A, B, planted
from tests.fuzz.readers import survive


def test_embedding_maps(tmp_path):
    a, b, people = planted()
    path = tmp_path / "map.npz"
    save_embedding_map(path, fit_embedding_map(a, b, people, from_model=A, to_model=B))
    survive(path, path.read_bytes(), load_embedding_map)
