"""hyperface-search: files in, files out, refusals in one line."""

import numpy as np

from hyperface_jax import save_embeddings
from hyperface_jax.cli import search

MODEL = {"name": "tiny", "sha256": "0" * 64}


def test_search_finds_the_nearest_rows(call, gallery, tmp_path, unit_rows):
    queries, output = tmp_path / "queries.npz", tmp_path / "neighbours.npz"
    save_embeddings(queries, unit_rows[3:6], kind="queries", model=MODEL)
    settings = {"index": gallery, "queries": queries, "output": output}
    code, printed, _ = call(search, **settings, k=4)
    assert code == 0
    assert "3 queries in 20 rows" in printed
    with np.load(output, allow_pickle=False) as found:
        assert found["rows"][:, 0].tolist() == [3, 4, 5]
        assert found["names"][:, 0].tolist() == [f"image_{i}.jpg" for i in (3, 4, 5)]
        dense = unit_rows[3:6] @ unit_rows.T
        expected = -np.sort(-dense, axis=1)[:, :4]
        np.testing.assert_allclose(found["cosines"], expected, atol=1e-6)


def test_search_does_not_write_over_what_it_reads(call, gallery):
    before = gallery.read_bytes()
    code, _, error = call(search, index=gallery, queries=gallery, output=gallery)
    assert code == 2
    assert "--output is --index" in error
    assert gallery.read_bytes() == before
    output = gallery / "found.npz"
    code, _, error = call(search, index=gallery, queries=gallery, output=output)
    assert code == 2
    assert f"{gallery}: is a file, expected a folder" in error


def test_search_replaces_results_of_its_own_alone(call, gallery, tmp_path):
    output = tmp_path / "found.npz"
    settings = {"index": gallery, "queries": gallery, "output": output}
    for k in (1, 2):
        assert call(search, **settings, k=k)[0] == 0
    with np.load(output) as found:
        assert found["rows"].shape == (20, 2)
    photo, references = tmp_path / "photo.jpg", tmp_path / "references.npz"
    photo.write_bytes(b"a photo")
    save_embeddings(references, np.eye(3, dtype=np.float32), kind="references")
    for path in (photo, references):
        before = path.read_bytes()
        code, _, error = call(search, **settings | {"output": path})
        assert code == 2
        assert f"{path} exists and isn't of this command" in error
        assert path.read_bytes() == before


def test_search_refuses_embeddings_of_another_model(call, gallery, tmp_path, unit_rows):
    queries = tmp_path / "queries.npz"
    save_embeddings(
        queries, unit_rows, kind="queries", model={"name": "other", "sha256": "1" * 64}
    )
    code, _, error = call(
        search, index=gallery, queries=queries, output=tmp_path / "out.npz"
    )
    assert code == 2
    assert "embeddings of model other" in error
