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
        "fairness",
    ]
    assert all("FMR" in line and "FNMR" in line for line in lines[3:])
    metrics = json.loads(output.read_text())
    interval = metrics["benchmarks"]["mixed"]["intervals"]["accuracy"]
    low, high = (f"{100 * end:.1f}" for end in interval)
    assert f"40 pairs, 95 %: accuracy {low}-{high}, FMR" in lines[0]
    assert "95 %: accuracy" in lines[2] and "95 %: accuracy" in lines[3]
    assert "(most accurate): FDR" in lines[5] and "inequity rate" in lines[5]
    assert json.loads(output.read_text())["settings"]["flip"] is False


def test_people_and_intervals_of_a_set(model, sets, tmp_path):
    """Genuine pairs join the images of 8 people, those that are in one."""
    metrics = verify_checkpoint(model, sets, tmp_path / "m.json")
    found = load_verification_set(sets / "mixed")
    names = [record["file_name"] for record in found.images.records]
    joined = {tuple(names[i] for i in pair) for pair in found.pairs[found.same]}
    people = {frozenset([name]) for name in names}
    for pair in joined:
        touched = {one for one in people if one & set(pair)}
        people = (people - touched) | {frozenset().union(*touched)}
    intervals = metrics["benchmarks"]["mixed"]["intervals"]
    assert intervals["num_people"] == len(people)
    assert intervals["people_from"] == "genuine pairs"
    low, high = metrics["mean_accuracy_interval"]
    assert low < metrics["mean_accuracy"] < high
    # One of the two sets has groups, so that both are the same pairs.
    assert metrics["fairness"] == metrics["benchmarks"]["cross_age"]["fairness"]
    assert metrics["fairness"]["compared"] == ["cold", "warm"]


def test_plots_are_of_the_curves_in_the_metrics(parse, model, sets, tmp_path):
    output = tmp_path / "m.json"
    arguments = [f"--checkpoint={model}", f"--benchmarks={sets}", f"--output={output}"]
    parse(*arguments, f"--plots={tmp_path / 'plots'}")
    command.main()
    metrics = json.loads(output.read_text())
    pictures = [f"{kind}_{name}.png" for kind in ("det", "roc") for name in
                ("cross_age", "mixed")]  # fmt: skip
    there = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert there == ["curves.csv", *pictures]
    for name in pictures:
        assert np.asarray(Image.open(tmp_path / "plots" / name)).std() > 10
    head, *rows = (tmp_path / "plots" / "curves.csv").read_text().splitlines()
    assert head == "checkpoint,set,threshold,fmr,fnmr,fnmr_low,fnmr_high"
    curve = metrics["benchmarks"]["mixed"]["curve"]
    of_mixed = [row.split(",") for row in rows if row.split(",")[1] == "mixed"]
    assert [float(row[3]) for row in of_mixed] == curve["fmr"]
    assert [float(row[4]) for row in of_mixed] == curve["fnmr"]


def test_people_of_lists_are_their_folders(model, sets, tmp_path):
    """LFW's list names people, so that images in no genuine pair are joined as well."""
    folder = tmp_path / "lfw"
    images = sets / "mixed" / "images"
    lines = ["10\t1"]
    for fold in range(10):
        one, other = f"p{fold % 8}", f"p{(fold + 1) % 8}"
        lines += [f"{one}\t1\t2", f"{one}\t{1 + fold % 3}\t{other}\t3"]
    for person in range(8):
        (folder / f"p{person}").mkdir(parents=True)
        for k in range(3):
            target = folder / f"p{person}" / f"p{person}_{k + 1:04d}.png"
            shutil.copy(images / f"{person}_{k}.png", target)
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")
    metrics = verify_checkpoint(model, folder, tmp_path / "m.json")
    intervals = metrics["benchmarks"]["lfw"]["intervals"]
    assert (intervals["people_from"], intervals["num_people"]) == ("names", 8)


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
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    head, *rows = lines[:3]
    assert lines[3] == ["95", "%", *head[1:]]
    assert head == ["checkpoint", "cross_age", "same", "mean"]
    names = [f"{folder.parent.name}/tiny" for folder in (model, other)]
    assert [row[0] for row in rows] == names
    for name, row in zip(names, rows, strict=True):
        path = tmp_path / "table" / f"{name.replace('/', '_')}.json"
        metrics = json.loads(path.read_text())
        figures = [metrics["benchmarks"][one]["accuracy"] for one in head[1:3]]
        assert row[1:3] == [f"{100 * figure:.2f}" for figure in figures]
        assert figures[0] == figures[1]
        (low, high), *_ = [
            metrics["benchmarks"][one]["intervals"]["accuracy"] for one in head[1:3]
        ]
        (spans,) = [line for line in lines[4:] if line[0] == name]
        assert spans[1] == f"{100 * low:.1f}-{100 * high:.1f}"
    table = (tmp_path / "table" / "table.csv").read_text().splitlines()
    assert [line.split(",")[:4] for line in table] == [head, *rows]
    assert table[0].endswith("cross_age low,cross_age high,same low,same high,mean low,"
                             "mean high")  # fmt: skip
    assert f"{rows[0][1]} [{spans[1]}]" in (tmp_path / "table" / "table.md").read_text()
    page = (tmp_path / "table" / "table.html").read_text()
    assert f"{rows[0][1]} [{spans[1]}]" in page and "2 recognisers on 2 sets" in page
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
