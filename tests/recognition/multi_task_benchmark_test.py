"""The benchmark of several tasks: its figures are right, and it still runs."""

import itertools
import json

import numpy as np
import pytest
import scipy.stats

from benchmarks import multi_task
from bridges.datasets.image_dataset import ImageDataset
from tests.recognition.attributed_people import write_attributed
from tests.recognition.benchmarks_test import run


class Colours:
    """A recogniser by the mean colours of a face's quarters."""

    model = {"name": "colours", "sha256": "0" * 64}  # noqa: RUF012
    image_size = 2
    embedding_size = 12

    def embed(self, images, *, flip=True):
        del flip
        rows = images.reshape(len(images), -1).astype(np.float32) - 110
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_gaps_are_those_of_loops_over_pairs(tmp_path):
    write_attributed(tmp_path / "people")
    people = ImageDataset(tmp_path / "people")
    found = multi_task.group_gaps(Colours(), people)
    rows = multi_task.embed_source(Colours(), people)
    pairs = list(itertools.combinations(range(len(rows)), 2))
    cosine = {pair: float(rows[pair[0]] @ rows[pair[1]]) for pair in pairs}
    person, group = people.labels, [record["group"] for record in people.records]
    impostors = [cosine[a, b] for a, b in pairs if person[a] != person[b]]
    threshold = np.quantile(impostors, 0.99)
    misses, matches = [], []
    for name in sorted(set(group)):
        here = [(a, b) for a, b in pairs if group[a] == group[b] == name]
        same = [cosine[a, b] for a, b in here if person[a] == person[b]]
        other = [cosine[a, b] for a, b in here if person[a] != person[b]]
        misses.append(sum(each < threshold for each in same) / len(same))
        matches.append(sum(each >= threshold for each in other) / len(other))
    assert found["fnmr"] == pytest.approx(sum(misses) / 3)
    assert found["fmr"] == pytest.approx(sum(matches) / 3)
    assert found["fnmr_gap"] == pytest.approx(max(misses) - min(misses)) != 0
    assert found["fmr_gap"] == pytest.approx(max(matches) - min(matches))


def test_intervals_over_seeds_are_students():
    values = [0.1, 0.4, -0.2, 0.3]
    mean, *interval = multi_task.over_seeds(values)
    expected = scipy.stats.t.interval(0.95, 3, np.mean(values), scipy.stats.sem(values))
    assert mean == pytest.approx(0.15)
    assert interval == pytest.approx(list(expected))
    assert multi_task.over_seeds([0.5]) == (0.5, None, None)


def test_intervals_over_people_know_that_images_of_one_are_alike():
    person = np.repeat(np.arange(50), 8)
    errors = np.random.default_rng(0).normal(size=50)[person] + 3
    found = multi_task.over_people("age", errors, person)
    alone = scipy.stats.bootstrap(
        (errors[::8],), np.mean, method="percentile", random_state=1
    ).confidence_interval
    assert found.value == pytest.approx(errors.mean())
    assert (found.low, found.high) == pytest.approx(tuple(alone), abs=0.04)


def test_it_runs_at_its_smallest(tmp_path, capsys):
    run(
        multi_task,
        f"--work={tmp_path / 'work'}",
        "--identities=6",
        "--held_out=8",
        "--images=2",
        "--image_size=32",
        "--epochs=0.5",
        "--batch_size=4",
        "--seeds=1",
        f"--output={tmp_path / 'm.json'}",
    )
    record = json.loads((tmp_path / "m.json").read_text())
    trainings = {row["training"] for row in record["tasks"]}
    assert trainings == {
        *("together", "together, learned weights"),
        *(f"{task} alone" for task in multi_task.TASKS),
    }
    alone = [row for row in record["tasks"] if row["training"] == "pose alone"]
    assert [row["error"] for row in alone] == [
        *("yaw, degrees", "pitch, degrees", "roll, degrees"),
    ]
    assert {row["error"] for row in record["tasks"]} == {*record["guesses"], "EER"}
    assert [row["attention"] for row in record["attention"]] == ["none", "demographic"]
    assert "fnmr_gap" in capsys.readouterr().out
