"""Fitting maps: what is found, what is refused as worthless, what is kept in a file."""

import numpy as np
import pytest

from bridges import fit_embedding_map, load_embedding_map, save_embedding_map
from bridges.embedding_maps.embedding_map import describe
from hyperface_jax import InputError, save_embeddings
from tests.embedding_maps.planted import A, B, planted, unit


def fit(pairs=None, labels=..., **changes):
    a, b, people = planted() if pairs is None else pairs
    labels = people if labels is ... else labels
    models = {"from_model": A, "to_model": B} | changes
    return fit_embedding_map(a, b, labels, **models)


def test_a_planted_relation_is_found_and_its_worth_holds_for_others():
    everyone = planted(num_people=900)
    seen = everyone.people < 300
    found = fit([each[seen] for each in everyone])
    mapped = found.map(everyone.a)
    hits = []
    for first in range(300, 900, 60):
        gallery = [everyone.people == person for person in range(first, first + 60)]
        centres = unit(np.array([mapped[own][:2].sum(0) for own in gallery]))
        for person, own in enumerate(gallery):
            hits += list((everyone.b[own][2:] @ centres.T).argmax(1) == person)
    promised = found.measured["held_out"]
    assert 0.7 < promised["rank1"] < 1
    # Of 600 and 1,200 probes: two standard errors are .03 each.
    assert promised["rank1"] == pytest.approx(np.mean(hits), abs=0.05)
    assert promised["rank1"] > found.measured["procrustes"]["rank1"]
    assert found.measured["target_alone"]["rank1"] >= promised["rank1"]
    assert found.measured["target_alone"]["cosine"] == pytest.approx(1)


def test_the_same_call_finds_the_same():
    one, other = fit(), fit()
    np.testing.assert_array_equal(one.map.matrix, other.map.matrix)
    assert one.measured == other.measured
    assert fit(seed=1).measured != one.measured


def test_names_are_labels_too():
    names = np.array([f"person {number:03d}" for number in planted().people])
    assert fit(labels=names).measured == fit().measured


@pytest.mark.parametrize("shuffle", ["people", "rows"])
def test_people_paired_at_random_are_worthless(shuffle):
    a, b, people = planted(num_people=300, images=2)
    random = np.random.default_rng(0)
    if shuffle == "people":
        order = np.argsort(random.permutation(300)[people], kind="stable")
    else:
        order = random.permutation(len(b))
    with pytest.raises(InputError, match=r"worthless.*rank-1 0\.\d+ of 60.*EER"):
        fit((a, b[order], people))


def test_images_of_nobody_known_count_each_and_it_says_so(capsys):
    found = fit(labels=None)
    assert "nothing says who is on an image" in capsys.readouterr().err
    assert found.measured["held_out"]["same_images"]
    assert found.measured["target_alone"] is None
    assert any("which flatters" in line for line in describe(found))


def test_few_people_are_said_to_be_few():
    assert describe(fit())[-1].startswith("  60 people are few")
    many = fit(planted(num_people=1000, images=2))
    assert not any("few" in line for line in describe(many))
    assert "2,000 pairs of 1,000 people" in describe(many)[0]
    # Whole galleries of 60.
    assert many.measured["held_out"]["people"] == 900


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"to_model": A}, "both sides are of a"),
        ({"to_model": None}, "to_model is None"),
        ({"from_model": {"name": "a"}}, "from_model.*no sha256"),
        ({"seed": -1}, "seed is -1"),
        ({"labels": [0]}, "labels"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, reason):
    with pytest.raises(InputError, match=reason):
        fit(**change)


def test_rows_that_do_not_pair_are_refused():
    a, b, people = planted()
    with pytest.raises(InputError, match="has 239 rows and to_embeddings 240"):
        fit((a[1:], b, people))
    with pytest.raises(InputError, match="19 people are too few"):
        fit(planted(num_people=19))
    with pytest.raises(InputError, match="to_embeddings"):
        fit((a, 2 * b, people))


def test_a_file_holds_all_of_a_map(tmp_path):
    found = fit()
    save_embedding_map(tmp_path / "map.npz", found, settings={"seed": 0})
    read = load_embedding_map(tmp_path / "map.npz")
    for one, other in zip(read.map, found.map, strict=True):
        np.testing.assert_array_equal(one, other)
    assert read[1:-1] == found[1:-1]
    assert read.provenance["settings"] == {"seed": 0}
    with np.load(tmp_path / "map.npz", allow_pickle=False) as content:
        assert '"kind": "embedding_map"' in str(content["metadata"])


def changed(path, **arrays):
    with np.load(path) as content:
        arrays = {**content, **arrays}
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"matrix": None}, "no 'matrix', so it is no map"),
        ({"to_mean": np.zeros(3)}, r"expected float64 \[p, q\]"),
        ({"matrix": np.zeros((12, 16), np.float32)}, "expected float64"),
        ({"matrix": np.full((12, 16), np.nan)}, "NaN"),
        ({"metadata": np.asarray("{")}, "not JSON"),
        ({"metadata": np.asarray("{}")}, "not of a map"),
        (
            {"metadata": np.asarray('{"kind": "embedding_map", "format_version": 2}')},
            "update hyperface_jax",
        ),
        (
            {"metadata": np.asarray('{"kind": "embedding_map", "format_version": 1}')},
            "lacks what a map says",
        ),
        ({"from_mean": np.array([{}] * 12)}, "pickled objects"),
    ],
)
def test_files_that_are_no_map_are_refused(tmp_path, change, reason):
    path = tmp_path / "map.npz"
    save_embedding_map(path, fit())
    changed(path, **change)
    with pytest.raises(InputError, match=f"map.npz: .*{reason}"):
        load_embedding_map(path)


def test_embeddings_are_told_from_a_map(tmp_path):
    save_embeddings(tmp_path / "e.npz", planted().a, kind="gallery")
    with pytest.raises(InputError, match="holds embeddings, expected a map"):
        load_embedding_map(tmp_path / "e.npz")
    with pytest.raises(InputError, match="no such file"):
        load_embedding_map(tmp_path / "none.npz")
