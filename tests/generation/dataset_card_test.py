"""The card and the Croissant of a dataset, by those who are to read them."""

import dataclasses
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from bridges import open_images
from bridges.datasets.croissant import croissant
from bridges.datasets.dataset_card import card_text, facts_of_groups, size_category
from bridges.datasets.dataset_facts import DatasetFacts, FileFact, checksum_lines
from bridges.datasets.folder_listing import BESIDE_GENERATED
from bridges.datasets.formats.writer import FORMATS
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
    created_with={"hyperface_jax": "9.8.7", "commit": "abc123"},
)
# What datasets and mlcroissant can open.
LOADED = ("folder", "imagefolder", "webdataset")


@pytest.fixture(scope="module")
def world(tmp_path_factory, painted):
    """References with groups, and their images in several formats."""
    folder = tmp_path_factory.mktemp("world")
    groups = {"gender": np.array(["female", "male", "female"])}
    rows = painted_world.unit_rows(3)
    painted_world.save_references(folder / "references.npz", rows, groups=groups)
    for format in LOADED:
        generate(folder, folder / format, images_per_identity=4, format=format)
    return folder


@pytest.fixture(scope="module")
def mlcroissant(tmp_path_factory):
    """The validator, which keeps the files of archives by their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROISSANT_CACHE", str(tmp_path_factory.mktemp("croissant")))
        import mlcroissant
    return mlcroissant


def front_matter(text: str) -> dict:
    """The YAML above a card, by the library of the hub."""
    from huggingface_hub import DatasetCard

    return DatasetCard(text).data.to_dict()


def test_the_hub_reads_the_yaml():
    entries = front_matter(card_text(FACTS))
    assert entries["license"] == "other" and entries["pretty_name"] == "people"
    assert entries["license_name"] == "inherited-from-the-generator"
    assert entries["license_details"] == "of paint" and "license_link" not in entries
    assert entries["size_categories"] == ["n<1K"]
    assert {"synthetic", "ai-generated"} <= set(entries["tags"])


def test_the_hub_shows_what_it_can_load():
    for format in FORMATS:
        entries = front_matter(card_text(dataclasses.replace(FACTS, format=format)))
        assert ("configs" in entries) == (format in LOADED)
        assert entries.get("viewer", True) == (format in LOADED)


def test_the_card_says_what_is_known_and_makes_up_nothing():
    text = card_text(FACTS)
    assert "12 images of 3 synthetic identities" in text
    assert "All images are AI-generated**; as far as is known they show nobody" in text
    assert "By hyperface_jax 9.8.7 (commit abc123)" in text
    assert "| gender | female | 2 |" in text
    assert "**Inherited**: of paint" in text
    assert "13 images were drawn for 12" in text and "1 low_cosine" in text
    assert f"| metadata.jsonl | 10 | {'2' * 64} |" in text
    assert "| beta | 0.01 |" in text
    less = {"licence": None, "groups": {}, "report": {}, "created_with": {}}
    text = card_text(dataclasses.replace(FACTS, **less))
    assert "**Inherited**: unknown" in text and "gender" not in text
    assert "By hyperface_jax, which" in text and "None" not in text
    assert "flagged" not in text
    assert front_matter(text)["license_name"] == "unknown"


@pytest.mark.parametrize(
    "name",
    [
        'a "b": c',
        "two\nlines: [",
        "- <b>|x",
        "--- {}",
        "é 人 ' #",
        "😀 \x85 \u2028 \x00 \\ud83d",
        "![x](http://a.test/b.png) `c` [d]",
    ],
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
    assert "](http://a.test" not in body and "`c`" not in body
    json.dumps(croissant(facts))


@pytest.mark.parametrize(
    ("images", "category"), [(999, "n<1K"), (1000, "1K<n<10K"), (10**12, "n>1B")]
)
def test_sizes_in_the_words_of_the_hub(images, category):
    assert size_category(images) == category


def test_groups_are_counted():
    groups = {"g": np.array(["b", "a", "b"])}
    assert facts_of_groups(groups) == {"g": {"a": 1, "b": 2}}


def test_a_folder_whose_name_is_no_text_has_a_card_that_is(world):
    folder = world / os.fsdecode(b"p\xff")
    generate(world, folder, images_per_identity=1)
    text = (folder / "README.md").read_text("utf-8")
    assert front_matter(text)["pretty_name"] == "p\ufffd"
    assert json.loads((folder / "croissant.json").read_text())["name"] == "p\ufffd"


def test_the_library_datasets_loads_folders_by_their_cards(world, tmp_path):
    """In a process of its own, which has no network and no cache."""
    program = (
        "import json, sys\n"
        "from datasets import load_dataset\n"
        "for folder in sys.argv[1:]:\n"
        "    found = load_dataset(folder, split='train')\n"
        "    rows = [{**row, **row.pop('json', {})} for row in found]\n"
        "    for row in rows:\n"
        "        row['image'] = row.pop('jpg', row.get('image')).size\n"
        "    print(json.dumps(rows))\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", program, *(str(world / name) for name in LOADED)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == len(LOADED)
    expected = {r["seed"]: r for r in open_images(world / "folder").records}
    for rows in map(json.loads, lines):
        assert len(rows) == 12 and {row["seed"] for row in rows} == expected.keys()
        for row in rows:
            assert row["image"] == [32, 32]
            for key in ("identity", "gender", "reference_cosine", "tries", "flag"):
                assert row[key] == expected[row["seed"]][key]


def test_croissant_is_valid_and_yields_the_images(world, mlcroissant, caplog):
    found = mlcroissant.Dataset(str(world / "folder" / "croissant.json"))
    records = list(found.records("images"))
    assert found.metadata.issues.report() == ""
    assert not [r for r in caplog.records if r.levelname in ("WARNING", "ERROR")]
    assert len(records) == 12
    source = open_images(world / "folder")
    for row, (record, expected) in enumerate(zip(records, source.records, strict=True)):
        same_as_expected(record, expected, "images")
        same_pixels(record["images/image"], source, row)
    names = [record["images/name"].decode() for record in records]
    assert names == [record["file_name"].split("/")[-1] for record in source.records]


def test_croissant_of_an_imagefolder_yields_images_and_records(world, mlcroissant):
    found = mlcroissant.Dataset(str(world / "imagefolder" / "croissant.json"))
    assert found.metadata.issues.report() == ""
    source = open_images(world / "imagefolder")
    images = {
        r["images/name"].decode(): r["images/image"] for r in found.records("images")
    }
    records = {r["records/name"].decode(): r for r in found.records("records")}
    assert len(images) == 12 and images.keys() == records.keys()
    for row, expected in enumerate(source.records):
        same_as_expected(records[expected["file_name"]], expected, "records")
        same_pixels(images[expected["file_name"]], source, row)


def test_croissant_of_shards_yields_images_and_identities(world, mlcroissant):
    found = mlcroissant.Dataset(str(world / "webdataset" / "croissant.json"))
    assert found.metadata.issues.report() == ""
    source = open_images(world / "webdataset")
    images = {r["images/name"]: r["images/image"] for r in found.records("images")}
    identities = {
        r["identities/name"]: r["identities/identity"]
        for r in found.records("identities")
    }
    assert len(images) == 12 and images.keys() == identities.keys()
    for row, key in enumerate(sorted(images)):
        assert identities[key] == source.records[row]["identity"]
        same_pixels(images[key], source, row)


def test_croissant_has_a_field_of_each_attribute_whatever_its_name(
    tmp_path, painted, mlcroissant
):
    groups = {
        attribute: np.array([f"{attribute}|<i>", "", "two\nlines"])
        for attribute in ("skin tone", "skin/tone", "name", "image", '<b>"\\', "人")
    }
    rows = painted_world.unit_rows(3)
    painted_world.save_references(tmp_path / "references.npz", rows, groups=groups)
    for format, where in (("folder", "images"), ("imagefolder", "records")):
        folder = tmp_path / format
        generate(tmp_path, folder, images_per_identity=2, format=format)
        found = mlcroissant.Dataset(str(folder / "croissant.json"))
        assert found.metadata.issues.report() == ""
        records = list(found.records(where))
        described = json.loads((folder / "croissant.json").read_text())
        fields = next(s for s in described["recordSet"] if s["name"] == where)["field"]
        for attribute, values in groups.items():
            (key,) = (
                field["@id"]
                for field in fields
                if field["source"].get("extract") == {"column": attribute}
            )
            assert [r[key].decode() for r in records[::2]] == values.tolist()


def same_as_expected(record: dict, expected: dict, where: str) -> None:
    """A record of Croissant says what the metadata say."""
    for key in ("identity", "index", "seed", "tries"):
        assert record[f"{where}/{key}"] == expected[key]
    for key in ("gender", "flag"):
        assert record[f"{where}/{key}"].decode() == expected[key]
    cosine = expected["reference_cosine"]
    assert record[f"{where}/reference_cosine"] == pytest.approx(cosine)


def same_pixels(image, source, row: int) -> None:
    expected = PIL.Image.open(io.BytesIO(source.read(row)))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum here")
@pytest.mark.skipif(os.name == "nt", reason="names that Windows does not take")
def test_sha256sum_takes_names_with_breaks_and_backslashes(tmp_path):
    names = ["plain", "a b", "line\nbreak", "back\\slash", "\\n", "end\r"]
    for name in names:
        (tmp_path / name).write_text(name)
    digests = [(n, hashlib.sha256(n.encode()).hexdigest()) for n in names]
    (tmp_path / "SHA256SUMS").write_text("".join(checksum_lines(digests)), newline="")
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=tmp_path, check=True)


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum here")
@pytest.mark.parametrize("format", ["folder", "imagefolder", "webdataset", "lmdb"])
def test_sha256sum_finds_every_file_as_it_is_said_to_be(world, tmp_path, format):
    folder = world / "folder"
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
    "format",
    ["imagefolder", "stylegan", "webdataset", "recordio", "lmdb", "hugging_face"],
)
def test_other_formats_have_a_card_and_are_read_all_the_same(
    world, mlcroissant, tmp_path, format
):
    folder = tmp_path / "people"
    generate(world, folder, images_per_identity=4, format=format)
    assert {path.name for path in folder.iterdir()} >= BESIDE_GENERATED
    described = json.loads((folder / "croissant.json").read_text())
    files = {each["name"] for each in described["distribution"] if "sha256" in each}
    assert files >= {"references.npz", "SHA256SUMS"}
    found = mlcroissant.Dataset(str(folder / "croissant.json"))
    assert found.metadata.issues.report() == ""
    source = open_images(folder)
    assert len(source) == 12 and len(source.identities) == 3
    assert not getattr(source, "left_out", {})
