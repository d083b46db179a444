"""Damaged metadata, journals and lists of pairs are read, or refused by name."""

import json

import numpy as np
import pytest
from PIL import Image

from bridges.datasets.image_dataset import ImageDataset, ImageDatasetWriter
from bridges.datasets.image_source import describe
from bridges.datasets.unreadable import check_source
from bridges.datasets.verification_set import (
    check_images,
    load_verification_set,
    write_pairs,
)
from hyperface_jax.artifacts import read_json
from tests.datasets.catalogues.trees import lfw_names, lfw_pairs, write_images
from tests.fuzz.readers import survive

SETTINGS = {"seed": 1, "sizes": [16, 32]}


def write_some(folder, complete: bool = True) -> None:
    with ImageDatasetWriter(folder, settings=SETTINGS, kind="rendered") as writer:
        for identity, index in ((0, 0), (0, 1), (7, 0)):
            record = {"identity": identity, "index": index, "seed": 3, "gender": 0.25}
            writer.write(np.full((8, 8, 3), 20 * identity, np.uint8), record)
        if complete:
            writer.finish()


def read_dataset(path) -> None:
    dataset = ImageDataset(path.parent)
    dataset.fingerprint()
    check_source(dataset, skip_unreadable=True)
    describe(dataset)


def open_again(path) -> None:
    with ImageDatasetWriter(path.parent, settings=SETTINGS, kind="rendered") as writer:
        assert len(writer.done) <= 4


@pytest.mark.parametrize("read", [read_dataset, open_again])
@pytest.mark.parametrize("name", ["metadata.jsonl", "dataset.json"])
def test_datasets(tmp_path, name, read):
    write_some(tmp_path)
    survive(tmp_path / name, (tmp_path / name).read_bytes(), read)


def test_journals(tmp_path):
    write_some(tmp_path, complete=False)
    journal = tmp_path / "journal.jsonl"
    survive(journal, journal.read_bytes(), open_again)


@pytest.mark.parametrize("grouped", [False, True])
def test_pairs(tmp_path, grouped):
    rows = []
    for i in range(8):
        name = f"images/{i}.png"
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (9 * i, 0, 0)).save(tmp_path / name)
        rows.append((name, f"images/{(i + 1) % 8}.png", i % 2, i // 4))
    if grouped:
        rows = [(*row, "old, grey") for row in rows]
    write_pairs(tmp_path, rows)

    def read(path):
        check_images(load_verification_set(tmp_path), skip_unreadable=True)

    survive(tmp_path / "pairs.csv", (tmp_path / "pairs.csv").read_bytes(), read)


def test_json(tmp_path):
    content = json.dumps({"a": [1, None], "größer": {"b": "c"}}).encode()
    survive(tmp_path / "run.json", content, read_json)


def test_lists_of_pairs(tmp_path):
    write_images(tmp_path, lfw_names(6))

    def read(path):
        check_images(load_verification_set(tmp_path), skip_unreadable=True)

    survive(tmp_path / "pairs.txt", lfw_pairs(6, folds=2, each=3).encode(), read)


@pytest.mark.parametrize("labels", [(6, 9, 6), ([1, 0], [0, 1], [0, 1])])
def test_labels_of_stylegan(tmp_path, labels):
    names = [f"{i}.png" for i in range(3)]
    write_images(tmp_path, names)

    def read(path):
        found = ImageDataset(tmp_path, identity_from="stylegan")
        found.fingerprint()
        check_source(found, skip_unreadable=True)

    described = {"labels": list(zip(names, labels, strict=True))}
    survive(tmp_path / "dataset.json", json.dumps(described).encode(), read)
