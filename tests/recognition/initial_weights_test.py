"""Trainings that begin with another recogniser's weights."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from bridges.recognition.training import train_recogniser
from hyperface_jax import InputError
from tests.recognition.training_test import TINY, write_people


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "dataset"
    write_people(folder)
    return folder


@pytest.fixture(scope="module")
def first(people, tmp_path_factory):
    output = tmp_path_factory.mktemp("first") / "checkpoint"
    train_recogniser(people, output, dataclasses.replace(TINY, seed=5), num_threads=1)
    return output


def test_it_begins_where_the_other_ended(people, first, tmp_path):
    """With a learning rate of almost nothing it stays there."""
    config = dataclasses.replace(TINY, epochs=1.0, learning_rate=1e-12)
    record = train_recogniser(people, tmp_path / "c", config, initial=first)
    before, after = (
        load_file(folder / "model.safetensors") for folder in (first, tmp_path / "c")
    )
    for name, value in before.items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(after[name], value, rtol=0, atol=1e-9)
    assert len(record["settings"]["initial"]) == 64
    with pytest.raises(InputError, match="initial"):
        train_recogniser(people, tmp_path / "c", config)


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({"backbone": "iresnet18"}, r"it lacks layer1\.0\.bn1"),
        ({"embedding_size": 8}, r"of another shape are fc\.bias, fc\.weight"),
    ],
)
def test_another_architecture_is_refused_by_its_keys(
    people, first, tmp_path, change, keys
):
    config = dataclasses.replace(TINY, **change)
    with pytest.raises(InputError, match=rf"iresnet_small of 32 pixels.*{keys}"):
        train_recogniser(people, tmp_path / "c", config, initial=first)
    assert not (tmp_path / "c/training.json").exists()


def test_what_is_no_recogniser_is_refused(people, tmp_path):
    with pytest.raises(InputError, match="no recogniser there"):
        train_recogniser(people, tmp_path / "c", TINY, initial=tmp_path)


def test_the_command_has_it(people, first, tmp_path):
    from bridges.cli import train

    for name in train.FLAGS:
        train.FLAGS[name].unparse()  # of what another test gave
    train.FLAGS(
        [
            "hyperface-train",
            f"--dataset={people}",
            f"--output={tmp_path / 'c'}",
            f"--initial={first}",
            "--image_size=32",
            "--embedding_size=16",
            "--batch_size=16",
            "--epochs=0.5",
            f"--tensorboard={tmp_path / 'board'}",
        ]
    )
    try:
        train.main()
    finally:
        for name in train.FLAGS:
            train.FLAGS[name].unparse()
    settings = json.loads((tmp_path / "c/training.json").read_text())["settings"]
    assert len(settings["initial"]) == 64
    assert any((tmp_path / "board").iterdir())
