"""Ranks, FNIR at FPIR and the command, against plain loops."""

import json

import numpy as np
import pytest

from bridges.cli import identify as command
from bridges.evaluation.identification import identification, search_people
from bridges.evaluation.identify import Faces, identify, random_split
from hyperface_jax import InputError, save_embeddings


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def faces(seed=0, people=12, each=4, noise=1.0, d=16):
    """Rows of people, a few images each; the last person has one image."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), each)[: people * each - each + 1]
    centres = rng.normal(size=(people, d))
    return unit(centres[who] + noise * rng.normal(size=(len(who), d))), who


def by_loops(gallery, enrolled, probes, people, alone=False):
    """Rank, own and other of each probe; the own image left out if alone."""
    found = []
    for i, (row, person) in enumerate(zip(probes, people, strict=True)):
        best = {}
        for j, (face, name) in enumerate(zip(gallery, enrolled, strict=True)):
            if not (alone and i == j):
                best[name] = max(best.get(name, -np.inf), float(row @ face))
        own = best.pop(person, -np.inf)
        rank = 1 + sum(each >= own for each in best.values())
        found.append((rank if own > -np.inf else 0, own, max(best.values())))
    return zip(*found, strict=True)


@pytest.mark.parametrize("block", [1 << 23, 100])
@pytest.mark.parametrize("alone", [False, True])
def test_searches_equal_plain_loops(alone, block, monkeypatch):
    monkeypatch.setattr("bridges.evaluation.identification._BLOCK", block)
    rows, who = faces()
    shuffled = np.random.default_rng(1).permutation(len(who))
    rows, who = rows[shuffled], who[shuffled] * 5  # numbers with gaps
    if alone:
        given = rows, who, rows, who
    else:
        some = np.arange(len(who)) % 3 > 0
        given = rows[some], who[some], rows[~some], np.where(who == 10, 11, who)[~some]
    found = search_people(*given, leave_one_out=alone)
    rank, own, other = by_loops(*given, alone)
    np.testing.assert_array_equal(found.rank, rank)
    np.testing.assert_allclose(found.own, own, atol=1e-6)
    np.testing.assert_allclose(found.other, other, atol=1e-6)
    assert 0 in found.rank and found.rank.max() > 1


def test_equal_cosines_are_ranked_last():
    gallery = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    found = search_people(
        gallery, np.array(["a", "b", "c"]), gallery[:1], np.array(["b"])
    )
    assert found.rank.tolist() == [2]


def test_figures_equal_plain_counts():
    rows, who = faces(2, people=40, each=5, noise=2.0)
    enrolled = (np.arange(len(who)) % 5 < 2) & (who < 25)
    people = who[~enrolled]
    found = search_people(rows[enrolled], who[enrolled], rows[~enrolled], people)
    figures = identification(found, people)
    mated = people < 25
    closed = figures["closed_set"]
    assert closed["num_probes"] == mated.sum()
    for k in (1, 5, 10, 20):
        share = np.mean(found.rank[mated] <= k)
        assert closed["rank"][str(k)] == pytest.approx(share)
        assert closed["cmc"][k - 1] == pytest.approx(share)
        low, high = closed["intervals"][str(k)]
        assert low <= share <= high < low + 0.4
    assert closed["cmc"] == sorted(closed["cmc"])
    open_set = figures["open_set"]
    assert (open_set["num_mated"], open_set["num_unmated"]) == (
        mated.sum(),
        sum(~mated),
    )
    for key, rate in (("1e-1", 0.1), ("1e-2", 0.01)):
        at = open_set["fnir_at_fpir"][key]
        if at is None:
            assert sum(~mated) * rate < 1
            continue
        assert at["fpir"] == np.mean(found.other[~mated] > at["threshold"]) <= rate
        assert at["fpir"] > rate - 1 / sum(~mated) - 1e-9
        right = (found.rank == 1) & (found.own > at["threshold"])
        assert at["fnir"] == pytest.approx(1 - right[mated].mean())
        assert at["interval"][0] < at["fnir"] < at["interval"][1]
    assert open_set["fnir_at_fpir"]["1e-1"] is not None
    assert open_set["fnir_at_fpir"]["1e-3"] is None, "too few to tell"


def test_left_out_probes_count_as_unmated_too():
    rows, who = faces(3)
    found = search_people(rows, who, rows, who, leave_one_out=True)
    figures = identification(found, who, leave_one_out=True)
    assert figures["open_set"]["num_unmated"] == len(who)
    assert figures["closed_set"]["num_probes"] == len(who) - 1, "one is alone"
    at = figures["open_set"]["fnir_at_fpir"]["1e-1"]
    assert at["fpir"] == np.mean(found.other > at["threshold"])


def test_a_random_split_enrols_one_image_of_those_known():
    rows, who = faces(people=10)
    both = random_split(Faces(rows, who.astype(str)), 0.3, 7)
    enrolled, searched = both
    assert len(enrolled.people) == len(set(enrolled.people)) == 7
    assert len(set(searched.people) - set(enrolled.people)) >= 2
    together = np.concatenate([each.rows for each in both])
    assert sorted(map(tuple, together)) == sorted(map(tuple, rows))
    again = random_split(Faces(rows, who.astype(str)), 0.3, 7)
    np.testing.assert_array_equal(again[0].rows, enrolled.rows)
    other = random_split(Faces(rows, who.astype(str)), 0.3, 8)
    assert not np.array_equal(other[0].rows, enrolled.rows)
    with pytest.raises(InputError, match="leaves nobody to enrol"):
        random_split(Faces(rows[:5], who[:5].astype(str)), 0.9, 0)


@pytest.fixture
def parse():
    def parse(*arguments: str) -> None:
        command.FLAGS(["hyperface-identify", *arguments])

    yield parse
    for name in command.FLAGS:
        command.FLAGS[name].unparse()


def write(path, rows, labels, names=None):
    save_embeddings(path, rows, kind="gallery", labels=labels, names=names)
    return path


def test_the_command_writes_and_prints(parse, tmp_path, capsys):
    rows, who = faces(noise=0.5, people=20)
    probe = np.arange(len(who)) % 4 == 3
    gallery = write(tmp_path / "g.npz", rows[~probe], [f"p{n}" for n in who[~probe]])
    probes = write(tmp_path / "p.npz", rows[probe], [f"p{n + 5}" for n in who[probe]])
    parse(
        f"--gallery={gallery}", f"--probes={probes}", f"--output={tmp_path / 'm.json'}"
    )
    command.main()
    found = json.loads((tmp_path / "m.json").read_text())
    # Names meet, not numbers: p5 of the probes is the gallery's p0's double.
    assert found["closed_set"]["num_probes"] == 15
    expected = by_loops(rows[~probe], who[~probe], rows[probe], who[probe] + 5)
    ranks = np.array(next(iter(expected)))
    assert found["closed_set"]["rank"]["1"] == np.mean(ranks[ranks > 0] == 1)
    assert "rank-1" in capsys.readouterr().out
    assert identify(gallery, tmp_path / "m.json", probes=probes) == found
    with pytest.raises(InputError, match="made with other"):
        identify(gallery, tmp_path / "m.json")


def test_the_splits_of_one_file(parse, tmp_path):
    rows, who = faces(noise=0.5, people=20)
    path = write(tmp_path / "g.npz", rows, who)
    arguments = [f"--gallery={path}", f"--output={tmp_path / 'm.json'}"]
    parse(*arguments, "--split=random", "--unknown_share=0.5", "--seed=3")
    command.main()
    found = json.loads((tmp_path / "m.json").read_text())
    enrolled, searched = random_split(Faces(rows, who.astype(str)), 0.5, 3)
    assert found["num_enrolled"] == found["num_gallery"] == 10
    ranks = np.array(next(iter(by_loops(*enrolled, *searched))))
    assert found["closed_set"]["num_probes"] == (ranks > 0).sum()
    assert found["closed_set"]["rank"]["1"] == np.mean(ranks[ranks > 0] == 1)
    alone = identify(path, tmp_path / "alone.json")
    assert alone["num_gallery"] == alone["open_set"]["num_unmated"] == len(who)


def test_templates_of_the_command(parse, tmp_path):
    rows, who = faces(noise=2.0, people=30)
    names = [f"{person}/{k}.jpg" for k, person in enumerate(who)]
    path = write(tmp_path / "g.npz", rows, who, names)
    scores = np.linspace(0.1, 1, len(who))
    lines = ["name,template,medium,score"]
    lines += [
        f"{name},{person}-{k % 2},{k},{scores[k]}"
        for k, (name, person) in enumerate(zip(names, who, strict=True))
    ]
    listed = tmp_path / "templates.csv"
    listed.write_text("\n".join(lines))
    ranks = {}
    for weigh in (True, False):
        output = tmp_path / f"{weigh}.json"
        parse(
            f"--gallery={path}",
            f"--output={output}",
            f"--templates={listed}",
            f"--weigh_by_score={weigh}",
        )
        command.main()
        found = json.loads(output.read_text())
        keys = [(person, k % 2) for k, person in enumerate(who)]
        pooled = {key: 0.0 for key in keys}
        for k, key in enumerate(keys):
            pooled[key] = pooled[key] + rows[k] * (scores[k] if weigh else 1)
        people = np.array([person for person, _ in pooled])
        both = unit(np.array(list(pooled.values())))
        expected = np.array(next(iter(by_loops(both, people, both, people, True))))
        assert found["num_gallery"] == len(pooled)
        ranks[weigh] = found["closed_set"]["rank"]
        assert ranks[weigh]["1"] == np.mean(expected[expected > 0] == 1)
    assert ranks[True] != ranks[False]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda k: k | {"probes": k["nameless"]}, "numbers them, so nobody is in both"),
        (lambda k: k | {"probes": k["gallery"]}, "is the gallery"),
        (lambda k: k | {"probes": k["strangers"]}, "no probe is of a person in the"),
        (lambda k: k | {"gallery": k["unlabelled"]}, "has no labels"),
        (lambda k: k | {"probes": "nothing.npz"}, "nothing.npz: no such file"),
        (lambda k: k | {"split": "half"}, "split is 'half', must be one of"),
        (lambda k: k | {"unknown_share": 1.0}, "unknown_share is 1"),
        (lambda k: k | {"templates": k["gallery"]}, "line 1"),
    ],
)
def test_refusals_are_one_line(tmp_path, change, reason):
    rows, who = faces()
    named = [f"p{n}" for n in who]
    files = {
        "gallery": write(tmp_path / "g.npz", rows, named, named),
        "nameless": write(tmp_path / "n.npz", rows, who),
        "strangers": write(tmp_path / "s.npz", rows, [f"q{n}" for n in who]),
        "unlabelled": write(tmp_path / "u.npz", rows, None),
    }
    given = change(files)
    kept = {k: v for k, v in given.items() if k not in files or k == "gallery"}
    with pytest.raises(InputError, match=reason) as refused:
        identify(kept.pop("gallery"), tmp_path / "m.json", **kept)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "m.json").exists()
