"""Images of two identities that a recogniser confuses: found, drawn again, flagged."""

import contextlib

import numpy as np
import pytest

from bridges.datasets.image_dataset import ImageDataset
from bridges.generation.collisions import CollisionCheck
from bridges.generation.draft import OpenBlock
from bridges.neighbours import near_pairs
from hyperface_jax import InputError, files
from tests.generation import painted_world
from tests.generation.painted_generator import PaintedGenerator, PaintedRecogniser
from tests.generation.painted_world import content_of, generate

pytestmark = pytest.mark.usefixtures("painted")
IMAGES = 12
THRESHOLD = 0.6
CHECKED = {
    "collision_recogniser": "painted",
    "collision_threshold": THRESHOLD,
    "noise": 25.0,
    "images_per_identity": IMAGES,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory, painted):
    """References of which the first two lie near each other."""
    folder = tmp_path_factory.mktemp("world")
    rows = painted_world.unit_rows(10)
    near = rows[0] + 0.7 * rows[1]
    rows[1] = near / np.linalg.norm(near)
    painted_world.save_references(folder / "references.npz", rows)
    generate(folder, folder / "plain", **{**CHECKED, **NO_CHECK})
    return folder


NO_CHECK = {"collision_recogniser": "", "collision_threshold": None}


def colliding(dataset: ImageDataset, threshold: float = THRESHOLD) -> np.ndarray:
    """Rows that collide, by the whole matrix of cosines."""
    rows = PaintedRecogniser().embed(dataset.load())
    cosines = rows @ rows.T
    cosines[dataset.labels[:, None] == dataset.labels[None, :]] = -1
    return np.flatnonzero(cosines.max(1) >= threshold)


def test_a_planted_collision_is_found_and_only_it_is_drawn_again(world, tmp_path):
    plain = ImageDataset(world / "plain")
    before = colliding(plain)
    assert 4 <= len(before) <= 20 and set(plain.labels[before]) == {0, 1}
    made = generate(world, tmp_path / "a", collision_rounds=20, **CHECKED)
    checked = ImageDataset(tmp_path / "a")
    assert len(colliding(checked)) == 0
    report = made.report["collisions"]
    assert report["images_before"] == len(before)
    assert (report["identities_before"], report["identities_after"]) == (2, 0)
    assert report["images_after"] == 0 and 1 <= report["rounds"] <= 20
    changed = [row for row in range(len(plain)) if plain.read(row) != checked.read(row)]
    redrawn = [r for r, record in enumerate(checked.records) if record["redraws"]]
    assert changed == redrawn and set(changed) <= set(before)
    assert len(changed) < len(before), "of each pair one is enough"
    assert report["redrawn"] >= len(changed)
    assert not any(record["flag"] for record in checked.records)


@pytest.mark.parametrize("rounds", [0, 1])
def test_what_still_collides_is_flagged(world, tmp_path, rounds):
    made = generate(world, tmp_path / "a", collision_rounds=rounds, **CHECKED)
    dataset = ImageDataset(tmp_path / "a")
    left = colliding(dataset)
    flagged = [r for r, record in enumerate(dataset.records) if record["flag"]]
    assert flagged == left.tolist()
    assert made.report["flagged"] == ({"collision": len(left)} if len(left) else {})
    assert made.report["collisions"]["images_after"] == len(left)
    assert made.report["collisions"]["rounds"] == rounds
    if not rounds:
        assert (
            len(left)
            and content_of(tmp_path / "a").keys() == content_of(world / "plain").keys()
        )


def test_stopped_anywhere_the_check_goes_on_to_the_same(world, tmp_path, monkeypatch):
    changes = CHECKED | {"collision_rounds": 20, "min_cosine": 0.3}
    generate(world, tmp_path / "whole", **changes)
    plain = {OpenBlock: "put", files: "write_json"}
    left, stops = {}, []

    def stopping(name, function):
        def call(*arguments, **keywords):
            left[name] = left.get(name, 0) - 1
            if left[name] == 0:
                stops.append(name)
                raise KeyboardInterrupt
            return function(*arguments, **keywords)

        return call

    for place, name in plain.items():
        monkeypatch.setattr(place, name, stopping(name, getattr(place, name)))
    # Among the first images; before the first round is noted; within rounds, and
    # between them.
    for name, number in [
        ("put", 60),
        ("write_json", 1),
        ("put", 1),
        ("put", 2),
        ("write_json", 1),
        ("put", 1),
        ("write_json", 1),
    ]:
        left[name] = number
        with contextlib.suppress(KeyboardInterrupt):
            generate(world, tmp_path / "torn", **changes)
            break
        left.clear()
    left.clear()
    assert stops.count("put") >= 3 and stops.count("write_json") >= 2
    generate(world, tmp_path / "torn", **changes)
    assert content_of(tmp_path / "torn") == content_of(tmp_path / "whole")


def test_every_draw_counts_and_one_flag_hides_no_other(world, tmp_path, monkeypatch):
    drawn, generate_images = [], PaintedGenerator.generate

    def counting(self, embeddings, seeds, settings=None):
        drawn.extend(seeds)
        return generate_images(self, embeddings, seeds, settings)

    monkeypatch.setattr(PaintedGenerator, "generate", counting)
    changes = CHECKED | {"collision_rounds": 2, "min_cosine": 0.85, "tries": 2}
    made = generate(world, tmp_path / "a", **(changes | {"collision_threshold": 0.55}))
    records = ImageDataset(tmp_path / "a").records
    assert made.report["tries"] == len(drawn) == sum(r["tries"] for r in records)
    left = colliding(ImageDataset(tmp_path / "a"), 0.55)
    words = [record["flag"].split(",") for record in records]
    assert [row for row, of in enumerate(words) if "collision" in of] == left.tolist()
    assert ["low_cosine", "collision"] in words
    flagged = made.report["flagged"]
    assert flagged["collision"] == len(left)
    assert flagged["low_cosine"] == sum("low_cosine" in of for of in words)


@pytest.mark.parametrize("stop", [2, 3])
def test_what_a_power_cut_took_of_a_round_is_made_as_it_was(
    world, tmp_path, monkeypatch, stop
):
    """The tails of all journals, once a round or two are done."""
    changes = CHECKED | {"collision_rounds": 20, "collision_threshold": 0.55}
    generate(world, tmp_path / "whole", **changes)
    begin, calls = CollisionCheck._begin, []

    def stopping(self, *arguments):
        calls.append(None)
        state = begin(self, *arguments)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return state

    monkeypatch.setattr(CollisionCheck, "_begin", stopping)
    with pytest.raises(KeyboardInterrupt):
        generate(world, tmp_path / "torn", **changes)
    monkeypatch.setattr(CollisionCheck, "_begin", begin)
    again = 0
    for journal in (tmp_path / "torn/.generation/blocks").glob("*.jsonl"):
        lines = journal.read_bytes().splitlines(keepends=True)
        again += b'"redraws": 0' not in lines[-1]
        journal.write_bytes(b"".join(lines[:-1]))
    assert again, "the check has something to check"
    generate(world, tmp_path / "torn", **changes)
    assert content_of(tmp_path / "torn") == content_of(tmp_path / "whole")


def test_embeddings_that_a_power_cut_left_as_zeros_are_computed_again(
    world, tmp_path, monkeypatch
):
    generate(world, tmp_path / "whole", **CHECKED)
    with monkeypatch.context() as patch:
        patch.setattr(CollisionCheck, "_begin", None)
        with pytest.raises(TypeError):
            generate(world, tmp_path / "torn", **CHECKED)
    path = tmp_path / "torn/.generation/collisions.f32"
    rows = np.fromfile(path, np.float32).reshape(-1, 64)
    rows[30:50] = 0
    rows.tofile(path)
    generate(world, tmp_path / "torn", **CHECKED)
    assert content_of(tmp_path / "torn") == content_of(tmp_path / "whole")


def test_the_check_is_part_of_what_a_dataset_is(world, tmp_path):
    with pytest.raises(InputError, match="collision_recogniser"):
        generate(world, world / "plain", **CHECKED)
    with pytest.raises(InputError, match="give both or neither"):
        generate(world, tmp_path / "a", collision_threshold=0.5)
    with pytest.raises(InputError, match="give both or neither"):
        generate(world, tmp_path / "a", collision_recogniser="painted")


def test_near_pairs_are_those_of_the_whole_matrix(monkeypatch):
    monkeypatch.setattr("bridges.neighbours._QUERIES", 16)
    monkeypatch.setattr("bridges.neighbours._ROWS", 24)
    rows = painted_world.unit_rows(100)
    people = np.arange(100) // 5
    cosines = rows @ rows.T
    cosines[people[:, None] == people[None, :]] = -np.inf
    found, nearest = near_pairs(rows, people, 0.3)
    assert found.tolist() == np.flatnonzero(cosines.max(1) >= 0.3).tolist()
    assert nearest.tolist() == cosines.argmax(1)[found].tolist()
    some = np.array([3, 50, 99])
    found, nearest = near_pairs(rows, people, 0.3, queries=some)
    to_some = np.flatnonzero(cosines[:, some].max(1) >= 0.3)
    own = some[cosines[some].max(1) >= 0.3]
    assert found.tolist() == sorted({*to_some.tolist(), *own.tolist()})
    for row, partner in zip(found.tolist(), nearest.tolist(), strict=True):
        allowed = range(100) if row in some else some
        assert cosines[row, partner] == cosines[row, allowed].max()
