"""Audits find what was planted, exactly that, and say so by exit code."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from bridges.audit.audit import audit_set, exceeded
from bridges.audit.leaks import find_leaks
from bridges.audit.people import People, mislabelled, same_people, separability
from bridges.evaluation.error_rates import equal_error_rate
from bridges.neighbours import nearest_rows
from hyperface_jax import InputError, save_embeddings
from tests.report.page_parser import Page

JUDGE = {"name": "judge", "sha256": "a" * 64}


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def people(count, images, d=64, noise=0.06, seed=0):
    """Rows about random directions, and who they are."""
    random = np.random.default_rng(seed)
    centres = unit(random.standard_normal((count, d)))
    who = np.repeat(np.arange(count), images)
    return unit(centres[who] + noise * random.standard_normal((len(who), d))), who


@pytest.fixture
def planted(tmp_path):
    """A set with two leaks, a duplicate, a person twice and two images exchanged."""
    real, real_who = people(30, 6, seed=1)
    rows, who = people(40, 5, seed=2)
    random = np.random.default_rng(3)
    rows[7] = unit(real[100:101] + 0.02 * random.standard_normal((1, 64)))[0]
    rows[133] = real[17]
    rows[52] = unit(rows[53:54] + 1e-4 * random.standard_normal((1, 64)))[0]
    # Person 39 is person 20.
    rows[195:] = unit(rows[100:105].mean(0) + 0.06 * random.standard_normal((5, 64)))
    rows[[61, 92]] = rows[[92, 61]]
    names = np.array([f"{k}.jpg" for k in range(len(rows))])
    groups = {"group": np.array(["a", "b"])[(who % 4 == 0).astype(int)]}
    save_embeddings(
        tmp_path / "set.npz",
        rows,
        kind="queries",
        labels=who,
        names=names,
        groups=groups,
        model=JUDGE,
    )
    save_embeddings(
        tmp_path / "real.npz", real, kind="gallery", labels=real_who, model=JUDGE
    )
    return tmp_path


def test_exactly_what_was_planted_is_found(planted):
    found = audit_set(
        planted / "set.npz", planted / "audit", against=[planted / "real.npz"]
    )
    by_kind = {}
    for each in found.flagged:
        by_kind.setdefault(each.kind, set()).add((each.image, each.person, each.other))
    assert {image for image, _, _ in by_kind["leak"]} == {"7.jpg", "133.jpg"}
    assert by_kind["duplicate"] == {("53.jpg", "10", "52.jpg")}
    assert by_kind["same_people"] == {("", "20", "39")}
    swapped = {("61.jpg", "12", "18"), ("92.jpg", "18", "12")}
    others = by_kind["mislabelled"] - swapped
    # Images of the person who is there twice may be nearer to the other half.
    assert swapped <= by_kind["mislabelled"]
    assert all({person, other} == {"20", "39"} for _, person, other in others)
    (leaks,) = found.leaks
    assert leaks.threshold < 0.9 and leaks.quantiles["1"] > leaks.real_quantiles["1"]
    assert leaks.compared == {"queries": 180, "candidates": 180}
    record = json.loads((planted / "audit" / "audit.json").read_text())
    assert record["counts"] == dict(found.counts) and record["judge"] == JUDGE
    with open(planted / "audit" / "flagged.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(found.flagged)
    page = Page((planted / "audit" / "index.html").read_text())
    assert "judge; another recogniser may not agree" in page.text
    assert "2 in all." in page.text
    assert found.groups["group"]["b"]["people"] == 10
    assert exceeded(found, {"leaks": 1, "duplicates": 1}) == ["2 leaks, 1 allowed"]


def test_duplicates_of_two_people_are_named_beside_nearer_ones(tmp_path):
    """Each has a copy of its own person's that is nearer than the other person's."""
    rows, who = people(6, 3)
    random = np.random.default_rng(0)
    for row, size in ((1, 1e-5), (3, 2e-4), (4, 2.1e-4)):
        rows[row] = unit(rows[:1] + size * random.standard_normal((1, 64)))[0]
    rows[4] = unit(rows[3:4] + 1e-5 * random.standard_normal((1, 64)))[0]
    save_embeddings(tmp_path / "x.npz", rows, kind="queries", labels=who, model=JUDGE)
    found = audit_set(tmp_path / "x.npz", tmp_path / "audit")
    pairs = {
        (each.other, each.image, each.why)
        for each in found.flagged
        if each.kind == "duplicate"
    }
    same, other = "of the same person", "of another person"
    assert pairs == {
        *(("0", "1", same), ("3", "4", same)),
        *((first, second, other) for first in "01" for second in "34"),
    }


def test_folder_means_would_have_missed_a_leak():
    """One image of a real person among five: its folder's mean is far from everyone."""
    real, who = people(30, 6, seed=1)
    rows, _ = people(5, 5, seed=2)
    rows[3] = real[40]
    found = find_leaks(rows, real, who, name="real")
    assert found.rows.tolist() == [3] and found.nearest.tolist() == [40]
    centres = People.of(real, who).centres
    mean = People.of(rows, np.repeat(np.arange(5), 5)).centres
    assert (mean @ centres.T).max() < found.centre_threshold
    with pytest.raises(InputError, match="nothing says who is who in it"):
        find_leaks(rows, real, None, name="real")
    assert len(find_leaks(rows, real, None, name="real", threshold=0.99).rows) == 1


def test_nearest_rows_equal_brute_force(monkeypatch):
    monkeypatch.setattr("bridges.neighbours._QUERIES", 7)
    monkeypatch.setattr("bridges.neighbours._ROWS", 11)
    rows, who = people(12, 3, d=8)
    queries, asked = people(9, 4, d=8, seed=5)
    for labels in (None, (asked, who)):
        cosines, found = nearest_rows(queries, rows, people=labels)
        dense = queries @ rows.T
        if labels is not None:
            dense[asked[:, None] == who[None, :]] = -np.inf
        np.testing.assert_array_equal(found, dense.argmax(1))
        np.testing.assert_allclose(cosines, dense.max(1), atol=1e-6)


def test_inside_equals_brute_force(monkeypatch):
    monkeypatch.setattr("bridges.neighbours._QUERIES", 16)
    monkeypatch.setattr("bridges.neighbours._ROWS", 24)
    rows, who = people(25, 4, d=16, noise=0.25)
    rows[5], rows[50] = rows[50].copy(), rows[5].copy()
    found = People.of(rows, who)
    cosines = rows.astype(float) @ rows.T
    own = []
    for i in range(len(rows)):
        others = [
            cosines[i, j] for j in range(len(rows)) if who[j] == who[i] and i != j
        ]
        own.append(np.mean(others))
    np.testing.assert_allclose(found.own_cosines(), own, atol=1e-6)
    limit = np.quantile(own, 0.05)
    between = np.array(
        [[cosines[who == a][:, who == b].mean() for b in range(25)] for a in range(25)]
    )
    expected = {
        (a, b) for a in range(25) for b in range(a + 1, 25) if between[a, b] >= limit
    }
    assert {pair[:2] for pair in same_people(found)} == expected
    wrong = set()
    for i in range(len(rows)):
        means = [cosines[i, who == b].mean() if b != who[i] else -2 for b in range(25)]
        if max(means) >= limit and max(means) > own[i]:
            wrong.add((i, int(np.argmax(means))))
    assert {each[:2] for each in mislabelled(found)} == wrong
    assert {(5, 12), (50, 1)} <= wrong
    apart = separability(found)
    first, second = np.triu_indices(len(rows), 1)
    score, same = cosines[first, second], who[first] == who[second]
    assert apart.eer == pytest.approx(equal_error_rate(score, same), abs=2e-3)
    assert apart.genuine[0] == pytest.approx(score[same].mean(), abs=1e-4)
    assert apart.impostor == pytest.approx(
        (score[~same].mean(), score[~same].std()), abs=1e-4
    )
    assert (apart.num_genuine, apart.num_impostor) == (same.sum(), (~same).sum())
    assert apart.eer_interval[0] <= apart.eer <= apart.eer_interval[1]


def test_intervals_hold_what_other_people_give():
    """The rate of many people lies in most intervals of few."""
    whole, who = people(400, 4, d=12, noise=0.35, seed=9)
    truth = separability(People.of(whole, who)).eer
    held = 0
    for k in range(20):
        some = (who >= 20 * k) & (who < 20 * k + 20)
        low, high = separability(People.of(whole[some], who[some])).eer_interval
        held += low <= truth <= high
    assert 15 <= held <= 20


def test_the_command_gates_by_its_exit_code(planted):
    def run(*arguments):
        return subprocess.run(
            [
                *(sys.executable, "-m", "bridges.cli.audit"),
                f"--set={planted / 'set.npz'}",
                f"--output={planted / 'out'}",
                *arguments,
            ],
            capture_output=True,
            text=True,
        )

    real = f"--against={planted / 'real.npz'}"
    found = run(real, "--max_leaks=1")
    assert found.returncode == 3, found.stderr
    assert "more than allowed: 2 leaks, 1 allowed" in found.stderr
    assert "2 leaks, 1 duplicates, 1 same people" in found.stdout
    assert "judged by judge, another may not agree" in found.stdout
    assert run(real, "--max_leaks=2").returncode == 0
    save_embeddings(
        planted / "other.npz",
        people(3, 3)[0],
        kind="gallery",
        model={"name": "x", "sha256": "b" * 64},
    )
    refused = run(f"--against={planted / 'other.npz'}")
    assert refused.returncode == 2 and "embeddings of model x" in refused.stderr


def test_images_are_embedded_and_shown(tmp_path):
    random = np.random.default_rng(0)
    for person in ("ann", "bob"):
        (tmp_path / "set" / person).mkdir(parents=True)
        for k in range(2):
            pixels = random.integers(0, 256, (64, 64, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / person / f"{k}.png")
    (tmp_path / "set" / "bob" / "9.png").write_bytes(
        (tmp_path / "set" / "ann" / "0.png").read_bytes()
    )
    with pytest.raises(InputError, match="no recogniser to judge them; give --model"):
        audit_set(tmp_path / "set", tmp_path / "audit")
    found = audit_set(tmp_path / "set", tmp_path / "audit", model="recogniser_f")
    duplicates = [each for each in found.flagged if each.kind == "duplicate"]
    assert [(e.image, e.other, e.why) for e in duplicates] == [
        ("bob/9.png", "ann/0.png", "of another person")
    ]
    assert duplicates[0].person == "bob"
    page = (tmp_path / "audit" / "index.html").read_text()
    assert page.count("data:image/jpeg") >= 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match=r"holds 'letter\.txt' but no audit"):
        audit_set(tmp_path / "set", tmp_path / "mine", model="recogniser_f")
