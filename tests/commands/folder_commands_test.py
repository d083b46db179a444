"""Commands that read folders: what they say, list at once, and leave out on request."""

import json

import numpy as np
import pytest
from absl import flags
from PIL import Image

from bridges import folder_flags
from bridges.cli import embed, train, verify
from bridges.datasets.verification_set import write_pairs
from hyperface_jax import load_embeddings
from tests.generation.tiny_models import save_tiny_recogniser

BAD = ("ann/3.png", "bob/0.png", "carl/0.png")
SMALL = {"image_size": 16, "embedding_size": 32, "batch_size": 4, "epochs": 1}


@pytest.fixture
def faces(tmp_path):
    """Four images of each of three people; three of the images are damaged."""
    folder = tmp_path / "faces"
    random = np.random.default_rng(0)
    for person in ("ann", "bob", "carl"):
        (folder / person).mkdir(parents=True)
        for i in range(4):
            pixels = random.integers(256, size=(16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / person / f"{i}.png")
    for name in BAD:
        (folder / name).write_bytes((folder / name).read_bytes()[:100])
    return folder


@pytest.fixture
def model(tmp_path):
    save_tiny_recogniser(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_embed(call, faces, model, tmp_path):
    settings = {"images": faces, "model": model, "output": tmp_path / "a.npz"}
    code, _, errors = call(embed, **settings)
    assert code == 2 and not (tmp_path / "a.npz").exists()
    assert f"{faces}: 12 images of 3 people: ann, bob, carl\n" in errors
    last = errors.splitlines()[-1]
    assert "3 of 12 can't be read" in last and all(name in last for name in BAD)
    code, output, _ = call(embed, **settings, skip_unreadable=True)
    assert code == 0 and "9 embeddings" in output
    made = load_embeddings(tmp_path / "a.npz")
    assert made.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert list(made.metadata["created_with"]["settings"]["skipped"]) == list(BAD)
    again = call(embed, **settings, skip_unreadable=True)
    assert again[:2] == (0, output), "what is there already is recognised"
    code, _, errors = call(embed, **settings)
    assert code == 2 and "skip_unreadable" in errors


def test_train(call, faces, tmp_path):
    settings = {"dataset": faces, "output": tmp_path / "checkpoint", **SMALL}
    code, _, errors = call(train, **settings)
    assert code == 2 and all(name in errors.splitlines()[-1] for name in BAD)
    assert not (tmp_path / "checkpoint").exists()
    code, _, errors = call(train, **settings, skip_unreadable=True)
    assert code == 0, errors
    record = json.loads((tmp_path / "checkpoint" / "training.json").read_text())
    assert list(record["skipped"]) == [str(faces / name) for name in BAD]
    assert call(train, **settings, skip_unreadable=True)[0] == 0


def test_verify(call, faces, model, tmp_path):
    people = ("ann", "bob", "carl")
    write_pairs(
        faces,
        [
            (f"{first}/{i}.png", f"{second}/{i + 1}.png", first == second, i)
            for i in range(3)
            for first in people
            for second in people
        ],
    )
    output = tmp_path / "m.json"
    settings = {"checkpoint": model, "benchmarks": faces, "output": output}
    code, _, errors = call(verify, **settings)
    assert code == 2 and all(name in errors.splitlines()[-1] for name in BAD)
    assert call(verify, **settings, skip_unreadable=True)[0] == 0
    metrics = json.loads(output.read_text())
    assert list(metrics["skipped"]["faces"]) == list(BAD)
    # Nine pairs with bob/0 or carl/0 first, less ann/3 second, counted twice.
    assert metrics["benchmarks"]["faces"]["num_pairs"] == 27 - 6 - 3


def test_ambiguous_folders_need_a_flag(call, model, tmp_path):
    for name in ("train/ann", "test/ann", "train/bob", "test/bob"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "faces" / name / "1.png")
    settings = {
        "images": tmp_path / "faces",
        "model": model,
        "output": tmp_path / "a.npz",
    }
    code, _, errors = call(embed, **settings)
    assert code == 2 and "--identity_from=top" in errors
    assert call(embed, **settings, identity_from="last")[0] == 0
    labels = load_embeddings(tmp_path / "a.npz").labels
    assert labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("one, two", ["one, two"]),
        ("a,one, two,b", ["a", "one, two", "b"]),
        ("none, at all", ["none", " at all"]),
    ],
)
def test_a_comma_may_be_part_of_a_path(tmp_path, monkeypatch, given, expected):
    (tmp_path / "one, two").mkdir()
    monkeypatch.chdir(tmp_path)
    values = flags.FlagValues()
    folder_flags.define_path_list("sets", "folders", values)
    values(["command", f"--sets={given}"])
    assert values.sets == expected


@pytest.mark.parametrize("command", [embed, train])
def test_an_archive_is_no_folder(call, tmp_path, command):
    (tmp_path / "faces.7z").write_bytes(b"PK\3\4")
    name = "images" if command is embed else "dataset"
    given = {name: tmp_path / "faces.7z", "output": tmp_path / "out"}
    code, _, errors = call(command, **given)
    assert (code, errors.count("\n")) == (2, 1)
    assert "faces.7z: is a file, expected a folder of images; unpack" in errors
