"""The recognition benchmarks still run, at their smallest."""

import json

import numpy as np
from PIL import Image

from benchmarks import (
    head_comparison,
    head_cost,
    image_loading,
    recognition_training,
    training_comparison,
)
from bridges.datasets.image_dataset import ImageDatasetWriter
from bridges.datasets.verification_set import write_pairs


def run(benchmark, *arguments):
    """Runs a benchmark in this process and puts its flags back."""
    benchmark.FLAGS(["benchmark", *arguments])
    try:
        benchmark.main()
    finally:
        for name in benchmark.FLAGS:
            benchmark.FLAGS[name].unparse()


def write_people(folder, identities, images):
    rng = np.random.default_rng(0)
    with ImageDatasetWriter(folder, settings={}, kind="rendered") as writer:
        for i in range(identities * images):
            record = {"identity": i // images, "index": i % images, "seed": 0}
            writer.write(rng.integers(0, 256, (64, 64, 3), np.uint8), record)
        writer.finish()


def test_training_speed(tmp_path, capsys):
    run(
        recognition_training,
        "--case=iresnet_small:32:4",
        "--variants=plain,plain_channels_last,ours,bfloat16",
        "--steps=1",
        "--identities=5",
        "--num_threads=1",
        f"--output={tmp_path / 'speed.json'}",
    )
    rows = json.loads((tmp_path / "speed.json").read_text())["rows"]
    names = [row["variant"] for row in rows]
    assert names == ["plain", "plain_channels_last", "ours", "bfloat16"]
    assert rows[0]["times_plain"] == 1
    for row in rows:
        rate = row["images_per_second"] * row["training_milliseconds"] / 1e3
        assert abs(rate - 1) < 1e-6 and row["embedding_milliseconds"] > 0
    assert "iresnet_small" in capsys.readouterr().out


def test_comparison_cuts_to_one_size_and_reports_all(tmp_path, capsys):
    write_people(tmp_path / "a", 3, 4)
    write_people(tmp_path / "b", 4, 3)
    (tmp_path / "sets" / "mixed").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(8):
        image = Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
        image.save(tmp_path / "sets" / "mixed" / f"{i}.png")
    rows = [(f"{i}.png", f"{(i + 1) % 8}.png", i % 2, i // 2) for i in range(8)]
    write_pairs(tmp_path / "sets" / "mixed", rows)
    output = tmp_path / "comparison.json"
    run(
        training_comparison,
        f"--dataset=one={tmp_path / 'a'}",
        f"--dataset=two={tmp_path / 'b'}",
        f"--verification={tmp_path / 'sets'}",
        f"--work={tmp_path / 'work'}",
        "--epochs=1",
        "--batch_size=4",
        "--num_threads=1",
        f"--output={output}",
    )
    record = json.loads(output.read_text())
    assert [row["dataset"] for row in record["rows"]] == ["one", "two"]
    assert record["created_with"]["settings"]["identities"] == 3
    for name in ("one", "two"):
        training = tmp_path / "work" / name / "seed_0" / "training.json"
        assert json.loads(training.read_text())["data"]["images"] == 9
    assert "trained on 3 identities x 3 images" in capsys.readouterr().out


def test_head_cost(tmp_path):
    output = tmp_path / "heads.json"
    run(
        head_cost,
        *("--heads=arcface,softmax", "--classes=50,200", "--class_shares=1,0.5"),
        *("--batch_size=8", "--repeats=1", f"--output={output}"),
    )
    rows = json.loads(output.read_text())["rows"]
    # arcface whole and in halves, softmax likewise, at two numbers of classes
    assert len(rows) == 8 and all(row["milliseconds"] > 0 for row in rows)


def test_image_loading(tmp_path):
    output = tmp_path / "loading.json"
    run(
        image_loading,
        *("--images=24", "--image_size=32", "--batch_size=8", "--formats=jpeg,zip"),
        *(f"--work={tmp_path / 'work'}", "--num_processes=1", f"--output={output}"),
    )
    rows = json.loads(output.read_text())["rows"]
    assert [row["format"] for row in rows] == ["jpeg", "zip"]
    assert all(row["images_per_second"] > 0 for row in rows)


def test_memory_of_the_loader(tmp_path):
    output = tmp_path / "memory.json"
    run(
        image_loading,
        *("--images=64", "--image_size=16", "--batch_size=8", "--formats=recordio"),
        *(f"--work={tmp_path / 'work'}", "--num_processes=1", f"--output={output}"),
    )
    (row,) = json.loads(output.read_text())["rows"]
    assert 0 < row["megabytes_first"] <= row["megabytes_last"] * 1.5
    assert row["megabytes_of_workers"] > 0


def test_tables_of_one_seed_and_of_a_training_that_failed(capsys):
    row = {"dataset": "d", "seed": 0, "accuracy": {"plain": 0.75}, "epochs_to_half": 2}
    row |= {"mean_accuracy": 0.75, "mean_accuracy_interval": [0.7, 0.8]}
    rows = [
        {"dataset": "d", "head": "arcface", "seed": 0, "failed": "the loss is nan"},
        {"head": "cosface", **row},
        {"head": "softmax", **row},
        {"head": "softmax", **row, "seed": 1, "accuracy": {"plain": 0.85}},
    ]
    head_comparison.print_tables(rows)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "d, arcface, 0: the loss is nan"
    assert said[-2].split() == [
        "cosface",
        "75.00",
        "75.00",
        "70.0",
        "to",
        "80.0",
        "[2]",
    ]
    assert said[-1].split()[:4] == ["softmax", "80.00", "±", "7.07"]
