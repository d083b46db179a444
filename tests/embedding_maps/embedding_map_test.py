"""Embedding maps as files and as a command: whose they are, and what they are worth."""

import json

import numpy as np
import pytest

from bridges.cli import map as command
from bridges.embedding_maps.embedding_map import (
    fit_embedding_map,
    load_embedding_map,
    save_embedding_map,
)
from hyperface_jax import InputError, load_embeddings, save_embeddings
from tests.embedding_maps.linear_map_test import related

A = {"name": "one", "sha256": "a" * 64}
B = {"name": "other", "sha256": "b" * 64}


def fitted(**options):
    a, b, who = related(**options)
    a, b = a.astype(np.float32), b.astype(np.float32)
    return fit_embedding_map(a, b, who, source=A, target=B), a, b, who


def test_a_map_is_read_as_it_was_written(tmp_path):
    mapping, a, b, _ = fitted()
    assert mapping.worth.rank1 > 0.9 and mapping.worth.eer < 0.1
    assert (mapping(a) * b).sum(1).mean() > 0.9
    save_embedding_map(tmp_path / "map.npz", mapping)
    found = load_embedding_map(tmp_path / "map.npz")
    np.testing.assert_array_equal(found(a), mapping(a))
    assert (found.source, found.target) == (A, B)
    assert found.worth == mapping.worth and found.metadata == mapping.metadata
    with pytest.raises(InputError, match="embeddings of 20 numbers, and the map takes"):
        found(b)


def test_worthless_maps_are_refused_with_their_measures():
    a, b, who = related(people=100)
    shuffled = np.random.default_rng(0).permutation(100)[who]
    rows = np.argsort(shuffled, kind="stable")
    with pytest.raises(InputError, match=r"worth nothing here: of 20 people held out"):
        fit_embedding_map(a, b[rows], who, source=A, target=B)
    with pytest.raises(InputError, match="19 people; a map needs 20"):
        fit_embedding_map(*related(people=19), source=A, target=B)
    with pytest.raises(InputError, match="both embeddings are of one"):
        fit_embedding_map(a, b, who, source=A, target=A)
    with pytest.raises(InputError, match="200 embeddings of one recogniser and 199"):
        fit_embedding_map(a, b[1:], who, source=A, target=B)


def test_other_files_are_no_maps(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.raises(InputError, match="no such file"):
        load_embedding_map(path)
    for content in (b"", b"PK\3\4", b"x" * 100):
        path.write_bytes(content)
        with pytest.raises(InputError, match="no embedding map, or a damaged one"):
            load_embedding_map(path)
    save_embeddings(path, np.eye(3, dtype=np.float32), kind="gallery", model=A)
    with pytest.raises(InputError, match="no embedding map"):
        load_embedding_map(path)
    mapping, *_ = fitted()
    broken = mapping._replace(linear=mapping.linear._replace(matrix=np.full((2, 2), 1)))
    save_embedding_map(path, broken)
    with pytest.raises(InputError, match=r"no embedding map, or a damaged one .arrays"):
        load_embedding_map(path)


@pytest.fixture
def run(capsys):
    def run(*arguments: str) -> tuple[str, str]:
        command.FLAGS(["hyperface-map", *arguments])
        try:
            command.main()
        finally:
            for name in command.FLAGS:
                command.FLAGS[name].unparse()
        said = capsys.readouterr()
        return said.out, said.err

    return run


def test_the_command_fits_and_applies(run, tmp_path):
    a, b, who = related()
    names = np.array([f"{i}.jpg" for i in range(len(a))])
    order = np.random.default_rng(0).permutation(len(a))
    one, other = tmp_path / "one.npz", tmp_path / "other.npz"
    save_embeddings(one, a, kind="gallery", labels=who, names=names, model=A)
    save_embeddings(other, b[order], kind="gallery", names=names[order], model=B)
    path = tmp_path / "map.npz"
    arguments = [f"--from_embeddings={one}", f"--to_embeddings={other}"]
    out, err = run(*arguments, f"--output={path}")
    assert "one to other, fitted on 400 images of 200 people" in out
    assert "ridge      on 40 people held out: rank-1 " in out and "Procrustes" in out
    assert "fitted on 400 images; 1000 and more" in err
    assert run(*arguments, f"--output={path}")[0] == out
    mapped = tmp_path / "mapped.npz"
    save_embeddings(tmp_path / "r.npz", a[::2], kind="references", model=A)
    out, err = run(
        f"--map={path}", f"--apply={tmp_path / 'r.npz'}", f"--output={mapped}"
    )
    assert "200 embeddings of 20 numbers, as by other" in out
    found = load_embeddings(mapped, kind="references", model=B)
    np.testing.assert_array_equal(
        found.embeddings, load_embedding_map(path)(a[::2].astype(np.float32))
    )
    made = found.metadata["created_with"]["settings"]
    assert made["mapped_from"] == A and made["held_out"]["people"] == 40
    cosines = found.embeddings @ found.embeddings.T - 2 * np.eye(200)
    before = a[::2] @ a[::2].T - 2 * np.eye(200)
    assert f"was {before.max():.3f} and is {cosines.max():.3f}; pack on" in err
    _, err = run(f"--map={path}", f"--apply={one}", f"--output={tmp_path / 'g.npz'}")
    assert "not away from the people on them" in err
    with pytest.raises(InputError, match=r"embeddings of model other .*, needed one"):
        run(f"--map={path}", f"--apply={other}", f"--output={tmp_path / 'x.npz'}")
    save_embeddings(tmp_path / "no.npz", a, kind="gallery")
    with pytest.raises(InputError, match="does not say whose embeddings these are"):
        run(f"--map={path}", f"--apply={tmp_path / 'no.npz'}", f"--output={mapped}")
    with pytest.raises(InputError, match="--to_embeddings is missing"):
        run(f"--from_embeddings={one}", f"--output={path}")
    with pytest.raises(InputError, match="--from is for fitting a map"):
        run("--from=sface", f"--map={path}", f"--apply={one}", "--output=x.npz")
    save_embeddings(other, b[1:], kind="gallery", names=names[1:], model=B)
    with pytest.raises(InputError, match=r"other images: 0\.jpg is in one of them"):
        run(*arguments, f"--output={tmp_path / 'y.npz'}")


def test_metadata_are_plain_json(tmp_path):
    mapping, *_ = fitted()
    save_embedding_map(tmp_path / "map.npz", mapping)
    with np.load(tmp_path / "map.npz") as content:
        found = json.loads(str(content["metadata"]))
    assert found["kind"] == "embedding_map" and found["source"] == A
    assert set(found["held_out"]) >= {"rank1", "eer", "centred_cosine", "chance"}
