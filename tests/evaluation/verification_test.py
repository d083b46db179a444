"""A recogniser measured on verification sets: metrics.json and the command."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from bridges.cli import verify as command
from bridges.datasets.bin_file import write_bin
from bridges.datasets.images import read_image
from bridges.datasets.verification_set import load_verification_set, write_pairs
from bridges.evaluation.comparison import verify_checkpoints
from bridges.evaluation.verification import (
    evaluate_verification,
    find_benchmarks,
    verify_checkpoint,
)
from bridges.recognisers.recogniser import load_recogniser
from bridges.recognition.backbones import build_backbone
from bridges.recognition.checkpoint import save_network
from hyperface_jax import InputError


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    torch.manual_seed(0)
    save_network(
        folder,
        build_backbone("iresnet_small", image_size=32, embedding_size=16),
        {"backbone": "iresnet_small", "image_size": 32, "embedding_size": 16},
    )
    return folder


def write_set(folder: pathlib.Path, seed: int = 0, group: bool = False) -> None:
    """40 pairs over 10 folds; a person is a colour, an image a shade of it."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(60, 200, (8, 3))
    (folder / "images").mkdir(parents=True)
    for person in range(8):
        for k in range(3):
            noise = rng.normal(size=(32, 32, 3)) * 8 + rng.normal() * 5
            pixels = (colours[person] + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{person}_{k}.png")
    rows = []
    for i in range(40):
        one, other = rng.choice(8, 2, replace=False)
        same = i % 2 == 0
        first, second = f"{one}_0", f"{one if same else other}_{rng.integers(1, 3)}"
        row = (f"images/{first}.png", f"images/{second}.png", same, i // 4)
        rows.append(
            (*row, "warm" if colours[one, 0] > 128 else "cold") if group else row
        )
    write_pairs(folder, rows)


@pytest.fixture
def sets(tmp_path) -> pathlib.Path:
    write_set(tmp_path / "sets" / "mixed", 0)
    write_set(tmp_path / "sets" / "cross_age", 1, group=True)
    return tmp_path / "sets"


def test_metrics_file_is_the_contract(model, sets, tmp_path):
    metrics = verify_checkpoint(model, sets, tmp_path / "metrics.json")
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert list(metrics["benchmarks"]) == ["cross_age", "mixed"]
    assert metrics["model"] == load_recogniser(model).model
    for result in metrics["benchmarks"].values():
        assert result["num_pairs"] == 40 and result["num_folds"] == 10
        assert set(result["tar_at_far"]) == {"1e-2", "1e-3", "1e-4"}
        assert set(result["confusion"]) == {
            "true_accept",
            "false_reject",
            "false_accept",
            "true_reject",
        }
    accuracies = [result["accuracy"] for result in metrics["benchmarks"].values()]
    assert metrics["mean_accuracy"] == pytest.approx(np.mean(accuracies))
    assert set(metrics["benchmarks"]["cross_age"]["groups"]) == {"warm", "cold"}
    assert "groups" not in metrics["benchmarks"]["mixed"]
    assert metrics["groups"] == metrics["benchmarks"]["cross_age"]["groups"]
    assert {"commit", "hardware", "packages"} <= set(metrics["created_with"])
    assert "device" not in metrics["created_with"]


def test_metrics_say_what_else_than_float32_on_the_cpu_computed(model, sets, tmp_path):
    metrics = verify_checkpoint(
        model, sets, tmp_path / "metrics.json", device="cpu", precision="bfloat16"
    )
    assert metrics["created_with"]["device"] == "cpu, bfloat16"


@pytest.mark.parametrize("flip", [True, False])
def test_figures_equal_pair_by_pair_embedding(model, sets, tmp_path, flip):
    metrics = verify_checkpoint(model, sets / "mixed", tmp_path / "m.json", flip=flip)
    pairs = load_verification_set(sets / "mixed")
    recogniser = load_recogniser(model)
    first, second = (
        np.concatenate(
            [
                recogniser.embed(read_image(pairs.images.paths[i])[None], flip=flip)
                for i in side
            ]
        )
        for side in pairs.pairs.T
    )
    expected = evaluate_verification(first, second, pairs.same, pairs.fold)
    found = metrics["benchmarks"]["mixed"]
    assert found["auc"] == pytest.approx(expected["auc"], abs=1e-6)
    assert found["accuracy"] == expected["accuracy"]
    assert metrics["settings"]["flip"] is flip


def test_same_call_returns_and_another_is_refused(model, sets, tmp_path):
    output = tmp_path / "m.json"
    first = verify_checkpoint(model, sets, output)
    assert verify_checkpoint(model, sets, output) == first
    with pytest.raises(InputError, match=r"made with other benchmarks"):
        verify_checkpoint(model, sets / "mixed", output)
    with pytest.raises(InputError, match=r"flip = True, asked for False"):
        verify_checkpoint(model, sets, output, flip=False)
    image = sets / "mixed" / "images" / "0_0.png"
    image.write_bytes(image.read_bytes()[:-1] + b"\0")  # of the same size
    with pytest.raises(InputError, match=r"made with other benchmarks"):
        verify_checkpoint(model, sets, output)
    output.write_text("{}")
    with pytest.raises(InputError, match="no metrics of ours"):
        verify_checkpoint(model, sets, output)


def test_sets_are_found_in_folders_of_them(sets, tmp_path):
    both = [sets / "cross_age", sets / "mixed"]
    assert find_benchmarks(sets) == both
    assert find_benchmarks([sets / "mixed", sets / "cross_age"]) == both[::-1]
    with pytest.raises(InputError, match="no verification sets"):
        find_benchmarks([])
    (tmp_path / "sets" / "late").mkdir()
    (tmp_path / "sets" / "late" / "dataset.json").write_text("{}")
    with pytest.raises(InputError, match="late: an image dataset without pairs;"):
        find_benchmarks(sets)


def test_refusals(model, sets, tmp_path):
    with pytest.raises(InputError, match="not a verification set"):
        verify_checkpoint(model, tmp_path / "nothing", tmp_path / "m.json")
    with pytest.raises(InputError, match="one name"):
        verify_checkpoint(model, [sets, sets / "mixed"], tmp_path / "m.json")
    with pytest.raises(InputError, match="no recogniser there"):
        verify_checkpoint(sets, sets, tmp_path / "m.json")
    (sets / "mixed" / "images" / "0_0.png").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"0_0\.png"):
        verify_checkpoint(model, sets / "mixed", tmp_path / "m.json")
    assert not (tmp_path / "m.json").exists()


@pytest.fixture
def parse():
    def parse(*arguments: str) -> None:
        command.FLAGS(["hyperface-verify", *arguments])

    yield parse
    for name in command.FLAGS:
        command.FLAGS[name].unparse()


def test_command_prints_a_line_a_set(parse, model, sets, tmp_path, capsys):
    output = tmp_path / "m.json"
    parse(
        f"--checkpoint={model}",
        f"--benchmarks={sets / 'mixed'},{sets / 'cross_age'}",
        f"--output={output}",
        "--noflip",
    )
    command.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "mixed",
        "cross_age",
        "mean",
        "cold",
        "warm",
    ]
    assert all("FMR" in line and "FNMR" in line for line in lines[3:])
    assert json.loads(output.read_text())["settings"]["flip"] is False


def test_command_prints_a_table_of_several_checkpoints(
    parse, model, sets, tmp_path, capsys
):
    """On a folder and on a .bin made of it, which has the pairs in its order."""
    found = load_verification_set(sets / "cross_age")
    images = [found.images.read(i) for i in found.pairs.ravel()]
    write_bin(tmp_path / "same.bin", images, found.same)
    other = tmp_path / "other" / model.name
    shutil.copytree(model, other)
    checkpoints = f"--checkpoint={model},{other}"
    where = f"--benchmarks={sets / 'cross_age'},{tmp_path / 'same.bin'}"
    parse(checkpoints, where, f"--output={tmp_path / 'table'}")
    command.main()
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head == ["checkpoint", "cross_age", "same", "mean"]
    names = [f"{folder.parent.name}/tiny" for folder in (model, other)]
    assert [row[0] for row in rows] == names
    for name, row in zip(names, rows, strict=True):
        path = tmp_path / "table" / f"{name.replace('/', '_')}.json"
        metrics = json.loads(path.read_text())
        figures = [metrics["benchmarks"][one]["accuracy"] for one in head[1:3]]
        assert row[1:3] == [f"{100 * figure:.2f}" for figure in figures]
        assert figures[0] == figures[1]
    table = (tmp_path / "table" / "table.csv").read_text().splitlines()
    assert [line.split(",") for line in table] == [head, *rows]
    with pytest.raises(InputError, match="the same checkpoint is given twice"):
        verify_checkpoints([model, model], sets, tmp_path / "twice")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "--checkpoint is missing"),
        (["--checkpoint=x"], "--benchmarks is missing"),
        (["--checkpoint=x", "--benchmarks=y"], "--output is missing"),
    ],
)
def test_command_asks_for_what_it_needs(parse, arguments, reason):
    parse(*arguments)
    with pytest.raises(InputError, match=reason):
        command.main()
