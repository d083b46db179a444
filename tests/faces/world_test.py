"""The face world: determinism, attributes, folders, verification sets."""

import collections
import dataclasses
import hashlib
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from bridges.alignment import ARCFACE_TEMPLATE, similarity_transform
from bridges.datasets.image_dataset import ImageDataset
from bridges.datasets.verification_set import load_verification_set
from bridges.faces import compiled, rasterizer, shading, verification_sets
from bridges.faces.renderer import FaceRenderer
from bridges.faces.verification_sets import render_verification_set
from bridges.faces.world import FaceWorld, Photograph, render_dataset
from hyperface_jax import InputError


@pytest.fixture(scope="module")
def renderer():
    return FaceRenderer(48)


def _frontal(capture):
    return dataclasses.replace(
        capture, yaw=0.0, pitch=0.0, roll=0.0, expression="neutral", noise=0.0
    )


def test_image_is_byte_equal_in_another_process_and_order():
    program = (
        "import hashlib; from bridges.faces.world import FaceWorld, Photograph\n"
        "world = FaceWorld(seed=3)\n"
        "for i, k in ((5, 1), (2, 0)):\n"
        "    image, _ = world.photograph(Photograph(i, k), 32)\n"
        "    print(hashlib.sha256(image.tobytes()).hexdigest())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    other = run.stdout.split()

    world = FaceWorld(seed=3)
    mine = [
        hashlib.sha256(world.photograph(Photograph(i, k), 32)[0].tobytes()).hexdigest()
        for i, k in ((2, 0), (5, 1))
    ]
    assert mine == other[::-1]
    assert len(set(mine)) == 2


def test_streams_and_seeds_share_no_identity():
    shapes = [
        tuple(FaceWorld(seed, stream).identity(0).shape.items())
        for seed in (0, 1)
        for stream in ("train", "held_out", "mixed")
    ]
    assert len(set(shapes)) == len(shapes)


def test_photographs_of_a_person_share_the_identity_and_nothing_else():
    world = FaceWorld()
    assert world.identity(7) is world.identity(7)
    first, second = world.capture(7, 0), world.capture(7, 1)
    assert first.yaw != second.yaw and not np.array_equal(first.light, second.light)


def test_similarity_transform_against_least_squares():
    generator = np.random.default_rng(0)
    source, target = generator.normal(size=(2, 5, 2))
    # x' = a x - b y + c, y' = b x + a y + d, as one linear system.
    rows = []
    for x, y in source:
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
    a, b, c, d = np.linalg.lstsq(np.array(rows), target.reshape(-1), rcond=None)[0]
    scale, offset = similarity_transform(source, target)
    np.testing.assert_allclose(scale, [[a, -b], [b, a]], atol=1e-12)
    np.testing.assert_allclose(offset, [c, d], atol=1e-12)


def test_frontal_faces_are_aligned_to_the_arcface_template(renderer):
    world = FaceWorld()
    for number in range(6):
        capture = _frontal(world.capture(number, 0))
        points = renderer.landmarks(world.identity(number), capture) * 112 / 48
        assert np.abs(points - ARCFACE_TEMPLATE).max() < 7


def test_yaw_turns_the_nose(renderer):
    world = FaceWorld()
    capture = _frontal(world.capture(0, 0))
    nose = []
    for yaw in (-40.0, 0.0, 40.0):
        turned = dataclasses.replace(capture, yaw=yaw)
        points = renderer.landmarks(world.identity(0), turned)
        nose.append(points[2, 0] - points[[0, 1], 0].mean())
    assert nose[0] < nose[1] - 1 and nose[1] + 1 < nose[2]


@pytest.mark.parametrize(
    "change",
    [
        {"yaw": 30.0},
        {"pitch": 10.0},
        {"expression": "laugh"},
        {"age": 74.0},
        {"light": np.array([-1.0, 0.0, 0.1]) / np.sqrt(1.01)},
        {"exposure": 0.5},
        {"gaze": (0.3, 0.0)},
        {"background": np.full((2, 3), 0.9)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_attribute_shows_in_the_image(renderer, change):
    world = FaceWorld()
    identity = world.identity(1)
    capture = dataclasses.replace(_frontal(world.capture(1, 0)), age=25.0)
    before = renderer.render(identity, capture).astype(int)
    after = renderer.render(identity, dataclasses.replace(capture, **change))
    assert np.abs(after - before).max() > 20


def test_darker_skin_is_darker(renderer):
    world = FaceWorld()
    identity = world.identity(2)
    capture = _frontal(world.capture(2, 0))
    light = dataclasses.replace(identity, skin=np.float32([0.6, 0.4, 0.3]))
    dark = dataclasses.replace(identity, skin=np.float32([0.06, 0.04, 0.03]))
    face = np.s_[20:40, 15:33]
    means = [renderer.render(p, capture)[face].mean() for p in (light, dark)]
    assert means[0] > means[1] + 50


def test_dataset_folder_and_resume(tmp_path):
    whole = render_dataset(
        tmp_path / "whole",
        num_identities=3,
        images_per_identity=2,
        image_size=24,
        num_processes=1,
    )
    dataset = ImageDataset(whole)
    assert len(dataset) == 6 and list(dataset.labels) == [0, 0, 1, 1, 2, 2]
    record = dataset.records[0]
    for key in ("gender", "age", "ethnicity", "yaw", "pitch", "roll", "expression"):
        assert key in record
    assert record["group"] == _group(record)
    assert abs(sum(record["ethnicity"].values()) - 1) < 0.01
    description = json.loads((whole / "dataset.json").read_text())
    assert description["complete"] and description["counts"]["images"] == 6
    render_dataset(whole, num_identities=3, images_per_identity=2, image_size=24)
    with pytest.raises(InputError, match="images_per_identity"):
        render_dataset(whole, num_identities=3, images_per_identity=4, image_size=24)


@pytest.mark.parametrize("name", verification_sets.NAMES)
def test_verification_sets_are_balanced_and_folds_disjoint(tmp_path, name):
    folder = render_verification_set(
        name, tmp_path / name, num_pairs=40, image_size=16, num_processes=1
    )
    pairs = load_verification_set(folder)
    assert pairs.name == name and len(pairs.pairs) == 40
    who = np.array([int(path.parent.name) for path in pairs.images.paths])[pairs.pairs]
    np.testing.assert_array_equal(who[:, 0] == who[:, 1], pairs.same)
    members = [set(who[pairs.fold == fold].reshape(-1)) for fold in range(10)]
    assert len(set.union(*members)) == sum(map(len, members)) == 20
    for fold in range(10):
        assert pairs.same[pairs.fold == fold].mean() == 0.5
    groups = {r["file_name"]: _group(r) for r in ImageDataset(folder).records}
    of_image = np.array(
        [groups[path.relative_to(folder).as_posix()] for path in pairs.images.paths]
    )
    first, second = of_image[pairs.pairs].T
    expected = np.where(first == second, first, "across groups")
    np.testing.assert_array_equal(pairs.group, expected)


def test_impostors_are_of_one_group_where_their_fold_has_two_of_it():
    world = FaceWorld(0, "cross_age")
    rows = verification_sets._pairs(world, "cross_age", 300)
    impostors = [row for row in rows if not row[2]]
    person = [[int(name.split("/")[1]) for name in row[:2]] for row in impostors]
    fold_of = {first: row[3] for (first, _), row in zip(person, impostors, strict=True)}
    assert sorted(a for a, _ in person) == sorted(b for _, b in person) == [*range(300)]
    group_of = {number: world.identity(number).group for number in range(300)}
    kinds = collections.Counter((fold_of[n], group_of[n]) for n in range(300))
    for first, second in person:
        assert first != second and fold_of[first] == fold_of[second]
        if group_of[first] != group_of[second]:
            fold, pair = fold_of[first], (group_of[first], group_of[second])
            assert 1 in (kinds[fold, pair[0]], kinds[fold, pair[1]])
            assert pair[0].split()[-1] == pair[1].split()[-1], "of one gender"
    assert np.mean([group_of[a] == group_of[b] for a, b in person]) > 0.9


def test_the_kernel_cache_is_named_by_the_sources():
    sources = hashlib.sha256()
    for path in sorted(pathlib.Path(compiled.__file__).parent.glob("*.py")):
        sources.update(path.read_bytes())
    for kernel in (shading.shade, rasterizer.rasterize):
        assert f"compiled-{sources.hexdigest()[:16]}" in kernel.stats.cache_path


def _group(record):
    """The demographic group according to the recorded attributes."""
    gender = "male" if record["gender"] > 0.5 else "female"
    return f"{max(record['ethnicity'], key=record['ethnicity'].get)} {gender}"


def test_a_finished_set_without_groups_is_left_unchanged(tmp_path):
    def render():
        return render_verification_set(
            "mixed", tmp_path, num_pairs=40, image_size=16, num_processes=1
        )

    path = render() / "pairs.csv"
    rows = [line.split(",")[:4] for line in path.read_text().splitlines()]
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    before = path.read_bytes()
    assert load_verification_set(render()).group is None
    assert path.read_bytes() == before


def test_pairs_are_written_again_after_a_kill(tmp_path):
    def render():
        return render_verification_set(
            "mixed", tmp_path, num_pairs=40, image_size=16, num_processes=1
        )

    path = render() / "pairs.csv"
    before = path.read_bytes()
    killed = path.rename(tmp_path / ".pairs-0a_9bcde.partial.csv")
    assert render() / "pairs.csv" == path
    assert path.read_bytes() == before
    assert not killed.exists()


def test_age_gap_is_thirty_years_and_profiles_are_profiles(tmp_path):
    folder = render_verification_set(
        "age_gap_30", tmp_path / "a", num_pairs=40, image_size=16, num_processes=1
    )
    records = ImageDataset(folder).records
    for young, old in zip(records[::2], records[1::2], strict=True):
        assert old["age"] - young["age"] == pytest.approx(30, abs=0.11)
    folder = render_verification_set(
        "frontal_profile", tmp_path / "p", num_pairs=40, image_size=16, num_processes=1
    )
    records = ImageDataset(folder).records
    assert max(abs(r["yaw"]) for r in records[::2]) <= 8
    assert min(abs(r["yaw"]) for r in records[1::2]) >= 75


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda out: render_dataset(out, num_identities=0, images_per_identity=1), "0"),
        (
            lambda out: render_dataset(
                out, num_identities=1, images_per_identity=1, image_size=8
            ),
            "image_size is 8",
        ),
        (lambda out: render_verification_set("lfw", out), "lfw"),
        (lambda out: render_verification_set("mixed", out, num_pairs=601), "601"),
        (lambda out: FaceWorld(0, "nowhere"), "nowhere"),
        (lambda out: FaceWorld(-1), "-1"),
    ],
)
def test_refusals(tmp_path, call, message):
    with pytest.raises(InputError, match=message):
        call(tmp_path / "out")
    assert not (tmp_path / "out").exists()
