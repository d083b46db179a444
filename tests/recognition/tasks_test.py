"""Several tasks on one backbone, and a task of one's own."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bridges.cli import train as command
from bridges.datasets.image_dataset import ImageDataset, ImageDatasetWriter
from bridges.recognition import loop
from bridges.recognition.checkpoint import load_progress
from bridges.recognition.state import init_training
from bridges.recognition.tasks import TASKS, TaskOutput
from bridges.recognition.training import train_recogniser
from hyperface_jax import InputError
from tests.recognition.training_test import TINY

BOTH = ("identity", "toy")


class Tone(nn.Linear):
    """Regression of an attribute of the records: what a user writes."""

    loss_weight = 0.5

    def __init__(self, config, sources):
        super().__init__(config.embedding_size, 1)
        tones = [record["tone"] for source in sources for record in source.records]
        self.targets = np.array(tones, np.float32)

    def loss(self, features, images, targets, progress):
        error = self(features)[:, 0] - targets
        return TaskOutput(error.square().mean(), {"error": error.detach().abs().mean()})


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(TASKS._entries, "toy", Tone)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Four people; each image has a tone of its own, which its record tells."""
    folder = tmp_path_factory.mktemp("people") / "dataset"
    rng = np.random.default_rng(0)
    with ImageDatasetWriter(folder, settings={}, kind="rendered") as writer:
        for i in range(48):
            tone, noise = rng.uniform(-1, 1), rng.normal(size=(32, 32, 3)) * 10
            pixels = 127.5 + 90 * tone * np.array([1, 1, -1]) + noise
            pixels[:, :, i // 12 % 3] += 20
            record = {"identity": i // 12, "index": i % 12, "seed": 0, "tone": tone}
            writer.write(pixels.clip(0, 255).astype(np.uint8), record)
        writer.finish()
    return folder


def test_a_toy_task_is_trained_by_the_command_beside_the_identities(
    call, people, tmp_path
):
    code, printed, _ = call(
        command,
        dataset=people,
        output=tmp_path / "c",
        tasks="identity,toy",
        image_size=32,
        embedding_size=16,
        batch_size=16,
        epochs=10,
        num_threads=1,
    )
    assert code == 0
    record = json.loads((tmp_path / "c" / "training.json").read_text())
    assert record["settings"]["tasks"] == ["identity", "toy"]
    first, last = record["history"][0], record["history"][-1]
    assert {*first} - {"epoch", "step", "seconds"} == {
        *("loss", "accuracy", "identity.loss", "toy.loss", "toy.error")
    }
    assert last["loss"] == pytest.approx(last["identity.loss"] + last["toy.loss"] / 2)
    assert last["toy.loss"] < first["toy.loss"] / 2
    assert f"toy.error {last['toy.error']:.3f}" in printed
    # The file is the recogniser's alone.
    names = load_file(tmp_path / "c" / "model.safetensors")
    alone = init_training(TINY, [ImageDataset(people)]).backbone.state_dict()
    assert {*names} == {*alone}


def test_its_gradient_reaches_the_backbone(people, tmp_path):
    config = dataclasses.replace(TINY, tasks=("toy",), epochs=8.0, weight_decay=0.0)
    record = train_recogniser(people, tmp_path / "c", config)
    losses = [row["loss"] for row in record["history"]]
    assert losses[-1] < losses[0] / 2 and "accuracy" not in record["history"][0]
    before = init_training(config, [ImageDataset(people)]).backbone.state_dict()
    after = load_file(tmp_path / "c" / "model.safetensors")
    for name in ("conv1.weight", "layer4.0.conv2.weight", "fc.weight"):
        assert not torch.equal(before[name], after[name])


def test_another_task_changes_no_fresh_weight_of_the_first(people):
    sources = [ImageDataset(people)]
    one = init_training(TINY, sources)
    two = init_training(dataclasses.replace(TINY, tasks=BOTH), sources)
    assert {*one.parameters()} < {*two.parameters()}
    assert "head.kernel" in one.parameters()
    assert "tasks.toy.weight" in two.parameters()
    for name, parameter in one.parameters().items():
        assert torch.equal(parameter, two.parameters()[name]), name


def test_both_resume_to_the_same_bits(people, tmp_path, monkeypatch):
    config = dataclasses.replace(TINY, tasks=BOTH)
    step, scores = loop.train_step, []

    def fail(*arguments, progress, **settings):
        if progress > 0.5:
            raise OSError("the disk is full")
        return step(*arguments, progress=progress, **settings)

    settings = {"num_threads": 1, "checkpoint_minutes": 0}
    with monkeypatch.context() as patch, pytest.raises(OSError, match="is full"):
        patch.setattr(loop, "train_step", fail)
        train_recogniser(people, tmp_path / "resumed", config, **settings)
    tensors, _ = load_progress(tmp_path / "resumed")
    assert {"tasks.toy.weight", "optimizer.tasks.toy.weight.exp_avg"} < {*tensors}
    for name in ("resumed", "whole"):
        record = train_recogniser(people, tmp_path / name, config, **settings)
        scores.append([row["toy.loss"] for row in record["history"]])
    assert scores[0] == scores[1]
    resumed, whole = (
        load_file(tmp_path / name / "model.safetensors")
        for name in ("resumed", "whole")
    )
    for name in whole:
        assert torch.equal(resumed[name], whole[name]), name


def test_progress_is_the_fraction_that_is_done(people, tmp_path, monkeypatch):
    seen, loss = [], Tone.loss

    def note(self, features, images, targets, progress):
        assert images.dtype == torch.float32 and images.shape == (16, 3, 32, 32)
        assert targets.shape == (16,)
        seen.append(progress)
        return loss(self, features, images, targets, progress)

    monkeypatch.setattr(Tone, "loss", note)
    config = dataclasses.replace(TINY, tasks=("toy",), epochs=2.0)
    train_recogniser(people, tmp_path / "c", config)
    assert seen == [step / 6 for step in range(6)]


def test_a_loss_that_is_not_finite_is_told_by_the_name_of_its_task(
    people, tmp_path, monkeypatch
):
    def loss(self, features, images, targets, progress):
        return TaskOutput(features.sum() * (math.nan if progress > 0.5 else 1), {})

    monkeypatch.setattr(Tone, "loss", loss)
    config = dataclasses.replace(TINY, tasks=BOTH)
    with pytest.raises(InputError, match="loss of the task toy is nan at step 5"):
        train_recogniser(people, tmp_path / "c", config)


def test_other_tasks_are_other_settings(people, tmp_path):
    config = dataclasses.replace(TINY, epochs=0.1)
    train_recogniser(people, tmp_path / "c", config)
    with pytest.raises(InputError, match=r"other settings \(tasks\)"):
        train_recogniser(
            people, tmp_path / "c", dataclasses.replace(config, tasks=BOTH)
        )
