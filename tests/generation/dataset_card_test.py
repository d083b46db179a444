"""The card and the Croissant of a dataset, by those who are to read them."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from bridges import open_images
from bridges.datasets.croissant import croissant
from bridges.datasets.dataset_card import card_text, facts_of_groups, size_category
from bridges.datasets.dataset_facts import DatasetFacts, FileFact
from bridges.datasets.folder_listing import BESIDE_GENERATED
from tests.generation import painted_world
from tests.generation.painted_world import generate

FACTS = DatasetFacts(
    name="people",
    format="folder",
    identities=3,
    images=12,
    image_size=112,
    date="2026-11-26",
    models={"generator": {"name": "g", "sha256": "1" * 64}},
    settings={"beta": 0.01, "seed": 7, "generator": "1" * 64},
    licence="of paint",
    groups={"gender": {"female": 2, "male": 1}},
    packing=None,
    report={"tries": 13, "flagged": {"low_cosine": 1}},
    files=[FileFact("metadata.jsonl", 10, "2" * 64)],
)


@pytest.fixture(scope="module")
def world(tmp_path_factory, painted):
    """References with groups, and a dataset folder of them."""
    folder = tmp_path_factory.mktemp("world")
    groups = {"gender": np.array(["female", "male", "female"])}
    rows = painted_world.unit_rows(3)
    painted_world.save_references(folder / "references.npz", rows, groups=groups)
    generate(folder, folder / "people", images_per_identity=4)
    return folder


def front_matter(text: str) -> dict:
    """The YAML above a card, by the library of the hub."""
    from huggingface_hub import DatasetCard

    return DatasetCard(text).data.to_dict()


def test_the_hub_reads_the_yaml():
    entries = front_matter(card_text(FACTS))
    assert entries["license"] == "other" and entries["pretty_name"] == "people"
    assert entries["size_categories"] == ["n<1K"]
    assert {"synthetic", "ai-generated"} <= set(entries["tags"])


def test_the_card_says_what_is_known_and_makes_up_nothing():
    text = card_text(FACTS)
    assert "12 images of 3 people who do not exist" in text
    assert "All images are AI-generated" in text
    assert "| gender | female | 2 |" in text
    assert "**Inherited**: of paint" in text
    assert "13 images were drawn for 12" in text and "1 low_cosine" in text
    assert f"| metadata.jsonl | 10 | `{'2' * 64}` |" in text
    assert "| beta | 0.01 |" in text
    text = card_text(dataclasses.replace(FACTS, licence=None, groups={}, report={}))
    assert "**Inherited**: unknown" in text and "gender" not in text


@pytest.mark.parametrize(
    "name", ['a "b": c', "two\nlines: [", "- <b>|x", "--- {}", "é 人 ' #"]
)
def test_no_name_breaks_out_of_its_place(name):
    facts = dataclasses.replace(
        FACTS,
        name=name,
        licence=name,
        models={"generator": {"name": name, "sha256": "3" * 64}},
        groups={name: {name: 3}},
    )
    text = card_text(facts)
    assert front_matter(text)["pretty_name"] == name
    body = text.split("---\n", 2)[2]
    rows = [line for line in body.splitlines() if line.startswith("| generator")]
    assert len(rows) == 1 and rows[0].count(" | ") == 2 and "<b>" not in body
    json.dumps(croissant(facts))


@pytest.mark.parametrize(
    ("images", "category"), [(999, "n<1K"), (1000, "1K<n<10K"), (10**12, "n>1B")]
)
def test_sizes_in_the_words_of_the_hub(images, category):
    assert size_category(images) == category


def test_groups_are_counted():
    groups = {"g": np.array(["b", "a", "b"])}
    assert facts_of_groups(groups) == {"g": {"a": 1, "b": 2}}


def test_the_library_datasets_loads_a_folder_by_its_card(world, tmp_path):
    """In a process of its own, which has no network and no cache."""
    program = (
        "import json, sys\n"
        "from datasets import load_dataset\n"
        "found = load_dataset(sys.argv[1], split='train')\n"
        "rows = [{**row, 'image': row['image'].size} for row in found]\n"
        "print(json.dumps(rows))\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", program, str(world / "people")],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)
    assert len(rows) == 12
    assert {row["gender"] for row in rows} == {"female", "male"}
    for row in rows:
        assert row["image"] == [32, 32] and row["tries"] == 1 and row["flag"] == ""
        assert 0.5 < row["reference_cosine"] <= 1
    assert sorted({row["identity"] for row in rows}) == [0, 1, 2]


def test_croissant_is_valid_and_yields_the_images(world, caplog):
    import mlcroissant

    found = mlcroissant.Dataset(str(world / "people" / "croissant.json"))
    assert found.metadata.issues.report() == ""
    assert not [r for r in caplog.records if r.levelname in ("WARNING", "ERROR")]
    records = list(found.records("images"))
    assert len(records) == 12
    source = open_images(world / "people")
    for record, expected in zip(records, source.records, strict=True):
        assert record["images/identity"] == expected["identity"]
        assert record["images/seed"] == expected["seed"]
        assert record["images/gender"].decode() == expected["gender"]
        cosine = record["images/reference_cosine"]
        assert cosine == pytest.approx(expected["reference_cosine"])
        assert record["images/image"].size == (32, 32)
    names = [record["images/name"].decode() for record in records]
    assert names == [record["file_name"].split("/")[-1] for record in source.records]


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum here")
@pytest.mark.parametrize("format", ["folder", "imagefolder", "webdataset", "lmdb"])
def test_sha256sum_finds_every_file_as_it_is_said_to_be(world, tmp_path, format):
    folder = world / "people"
    if format != "folder":
        folder = tmp_path / "people"
        generate(world, folder, images_per_identity=4, format=format)
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=folder, check=True)
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    named = {line.split("  ", 1)[1] for line in lines}
    there = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    }
    later = {"README.md", "croissant.json", "SHA256SUMS"}
    assert there - named == later | (
        {"dataset.json"} if format == "folder" else {"conversion.json"}
    )


@pytest.mark.parametrize(
    "format", ["imagefolder", "webdataset", "recordio", "lmdb", "hugging_face"]
)
def test_other_formats_have_a_card_and_are_read_all_the_same(world, tmp_path, format):
    folder = tmp_path / "people"
    generate(world, folder, images_per_identity=4, format=format)
    assert {path.name for path in folder.iterdir()} >= BESIDE_GENERATED
    described = json.loads((folder / "croissant.json").read_text())
    files = {each["name"]: each["sha256"] for each in described["distribution"]}
    assert files.keys() >= {"references.npz", "SHA256SUMS"}
    source = open_images(folder)
    assert len(source) == 12 and len(source.identities) == 3
    assert not getattr(source, "left_out", {})
