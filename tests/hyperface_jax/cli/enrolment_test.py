"""How near to enrolled people is too near, where that comes from, what it can't say."""

import itertools
import math

import numpy as np
import pytest

from hyperface_jax import EmbeddingFile, load_embeddings, save_embeddings
from hyperface_jax.cli import enrolment, pack, packing_start

MODEL = {"name": "tiny", "sha256": "0" * 64}


@pytest.fixture
def enrolled(tmp_path):
    """Thirty people, two photographs each: 60 rows of 8 numbers."""
    random = np.random.default_rng(1)
    rows = random.normal(size=(30, 8)).repeat(2, 0) + 0.2 * random.normal(size=(60, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    path = tmp_path / "people.npz"
    save_embeddings(path, rows, kind="gallery", labels=np.arange(60) // 2, model=MODEL)
    return path


def file_of(labels=None, **metadata):
    return EmbeddingFile(np.eye(4, dtype=np.float32), labels, None, metadata, {})


def test_the_limit_is_that_of_the_enrolled_people(call, gallery, tmp_path, enrolled):
    output = tmp_path / "references.npz"
    settings = {
        "gallery": gallery,
        "output": output,
        "enrolled": enrolled,
        "num_iterations": 5,
        "enrolled_fmr": 0.005,
    }
    code, printed, error = call(pack, **settings)
    assert code == 0, error
    exact = load_embeddings(enrolled).embeddings.astype(float)
    cosines = sorted(
        exact[i] @ exact[j]
        for i, j in itertools.combinations(range(60), 2)
        if i // 2 != j // 2
    )
    allowed = int(0.005 * len(cosines))
    limit = math.floor(cosines[-allowed - 1] * 10_000) / 10_000
    record = load_embeddings(output).metadata["packing"]
    assert record["max_enrolled_cosine"] == record["enrolled"]["limit"] == limit
    assert record["enrolled"]["kept"]
    calibration = record["enrolled"]["calibration"]
    assert calibration["num_impostor_pairs"] == len(cosines)
    assert calibration["asked"] == 0.005
    assert calibration["threshold"] == pytest.approx(cosines[-allowed - 1], abs=1e-6)
    assert f"at most {limit:g}" in printed
    assert "1,740 pairs of two of 30 enrolled people exceeds" in printed
    references = load_embeddings(output).embeddings.astype(float)
    assert (references @ exact.T).max() <= limit + 1e-6
    # The same again is done already; another rate is another setting.
    assert call(pack, **settings)[1].endswith("already packed with these settings\n")
    code, _, error = call(pack, **settings | {"enrolled_fmr": 0.01})
    assert code == 2 and "enrolled_fmr = 0.005, asked for 0.01" in error


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"enrolled_fmr": 0}, "enrolled_fmr is 0.0, must be more than 0"),
        ({"enrolled_fmr": 1}, "enrolled_fmr is 1.0"),
        ({"enrolled": None}, "--enrolled_fmr says nothing without --enrolled"),
        ({"max_enrolled_cosine": 0.3}, "both say how near is too near"),
        ({"enrolled_fmr": 1e-4}, "people.npz: false_match_rate is 0.0001, which 1,740"),
    ],
)
def test_rates_that_say_nothing_are_refused(
    call, gallery, tmp_path, enrolled, changed, reason
):
    settings = {"gallery": gallery, "output": tmp_path / "r.npz", "enrolled": enrolled}
    settings = settings | {"enrolled_fmr": 0.01} | changed
    given = {name: value for name, value in settings.items() if value is not None}
    code, _, error = call(pack, **given)
    assert code == 2 and error.count("\n") == 1
    assert reason in error
    assert not (tmp_path / "r.npz").exists()


def test_rows_of_nobody_in_particular_cannot_be_calibrated_on(call, gallery, tmp_path):
    path = tmp_path / "people.npz"
    save_embeddings(path, np.eye(8), kind="gallery", model=MODEL)
    settings = {"gallery": gallery, "output": tmp_path / "r.npz", "enrolled": path}
    code, _, error = call(pack, **settings, enrolled_fmr=0.1)
    assert code == 2 and "people.npz: has no labels" in error


def test_means_are_told_from_photographs():
    (line,) = enrolment.remarks(file_of(np.arange(4)), "means.npz")
    assert line.startswith("means.npz: one row for each of 4 people")
    assert enrolment.remarks(file_of(np.array([0, 0, 1, 2])), "photos.npz") == []
    assert enrolment.remarks(file_of(None), "unlabelled.npz") == []
    assert enrolment.remarks(None, "none.npz") == []


def test_mapped_rows_are_told_from_embedded_ones():
    mapped = {"settings": {"mapped": {"map": "0" * 64}}}
    (line,) = enrolment.remarks(file_of(created_with=mapped), "mapped.npz")
    assert "mapped from another recogniser" in line
    assert enrolment.remarks(file_of(created_with={"settings": {}}), "a.npz") == []


@pytest.mark.parametrize("lacking", ["gallery", "people"])
def test_rows_of_unknown_recognisers_are_taken_with_a_warning(
    tmp_path, enrolled, lacking
):
    pack.FLAGS.unparse_flags()
    pack.FLAGS(["hyperface-pack", "--gallery=gallery.npz", f"--enrolled={enrolled}"])
    known = {} if lacking == "gallery" else {"model": MODEL}
    rows = np.eye(8, dtype=np.float32)
    gallery = EmbeddingFile(rows, None, None, known, {})
    if lacking == "people":
        save_embeddings(enrolled, rows, kind="gallery")
    with pytest.warns(UserWarning, match=rf"{lacking}\.npz: doesn't say which recog"):
        packing_start.load_beside(gallery, pack.FLAGS, "enrolled")
