"""A training step on an accelerator, without one: nothing is left on the CPU.

Tensors on torch's ``meta`` device have shapes and no content. An operation that mixes
them with the CPU's is what would fail on a GPU; one that asks for their content is what
would wait for it.
"""

import contextlib
import dataclasses

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bridges.devices import Device
from bridges.recognition import augmentation, training
from bridges.recognition.architectures import ARCHITECTURES
from bridges.recognition.augmentation_strengths import AUGMENTATIONS
from bridges.recognition.checkpoint import load_progress
from bridges.recognition.config import TrainingConfig
from bridges.recognition.draws import Draws
from bridges.recognition.history import TrainingCounts, fetch
from bridges.recognition.image_batches import ImageBatches
from bridges.recognition.image_order import ImageOrder
from bridges.recognition.loop import _batches
from bridges.recognition.state import init_training, tensors_of
from bridges.recognition.steps import step_generator, train_step
from bridges.recognition.training import train_recogniser
from tests.recognition.plain_source import Plain
from tests.recognition.training_test import TINY, write_people

COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices, as a GPU does.

    Some of the meta device's own do not. Copies are what moves between devices, and
    numbers, tensors without dimensions, may come from the CPU.
    """

    def __torch_dispatch__(self, operation, types, arguments=(), settings=None):
        tensors = [
            leaf
            for leaf in tree_leaves((arguments, settings))
            if isinstance(leaf, torch.Tensor) and leaf.ndim
        ]
        if operation not in COPIES and len({str(t.device) for t in tensors}) > 1:
            raise RuntimeError(f"{operation} mixes devices")
        return operation(*arguments, **(settings or {}))


@pytest.fixture
def noise_on_meta(monkeypatch):
    """All augmentations; noise of zeros, since the meta device has no generators."""
    monkeypatch.setattr(Draws, "pixel_noise", lambda draws, x: torch.zeros_like(x))
    every = augmentation.Augmentation(low_resolution=1.0)
    monkeypatch.setitem(AUGMENTATIONS, "strong", every)


def step_on_meta(**settings):
    config = TrainingConfig(
        image_size=32, embedding_size=8, batch_size=4, augmentation="strong", **settings
    )
    sources = [Plain(0, 12)]
    state = init_training(config, sources, Device("meta"))
    images, order = ImageBatches(sources, config.image_size), ImageOrder([12], 0)
    batches = _batches(state, TrainingCounts(), images, order, config, 0, 2)
    with OneDevice(), contextlib.closing(batches) as them:
        for step, batch in enumerate(them):
            out = train_step(
                state,
                batch.images,
                batch.targets,
                config,
                progress=step / 2,
                generator=step_generator(0, step),
            )
    return state, out


@pytest.mark.parametrize(
    ("backbone", "optimizer"),
    [
        # The deepest is iresnet100 with more of the same blocks, and takes 13 s.
        *((name, "adamw") for name in ARCHITECTURES if name != "iresnet200"),
        ("ir_18", "adamw"),
        ("iresnet_small", "sgd"),
    ],
)
def test_a_step_stays_on_the_device_and_asks_it_for_nothing(
    noise_on_meta, backbone, optimizer
):
    state, out = step_on_meta(backbone=backbone, optimizer=optimizer)
    assert out.loss.is_meta and out.tasks["identity"].metrics["accuracy"].is_meta
    for name, value in tensors_of(state).items():
        assert value.is_meta or name.endswith(".step"), name
    assert all(
        weights.grad.is_meta
        for weights in state.backbone.parameters()
        if weights.requires_grad
    )


def test_what_is_left_on_the_cpu_is_noticed(noise_on_meta, monkeypatch):
    monkeypatch.setattr(Draws, "pixel_noise", lambda draws, x: torch.zeros(x.shape))
    with pytest.raises(RuntimeError, match="device"):
        step_on_meta()


def test_the_weights_drawn_are_those_of_the_cpu(monkeypatch):
    drawn = []
    to = torch.nn.Module.to

    def note(module, *arguments, **settings):
        drawn.append({k: v.clone() for k, v in module.state_dict().items()})
        return to(module, *arguments, **settings)

    monkeypatch.setattr(torch.nn.Module, "to", note)
    for device in ("cpu", "meta"):
        init_training(TINY, [Plain(0, 12)], Device(device))
    cpu, meta = drawn[:2], drawn[2:]
    for one, other in zip(cpu, meta, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_numbers_of_many_steps_are_fetched_at_once():
    steps = [
        {"loss": torch.tensor(0.1 * i), "accuracy": torch.tensor(i)} for i in (1, 2)
    ]
    assert fetch(steps) == [
        {"loss": np.float32(0.1), "accuracy": 1.0},
        {"loss": np.float32(0.2), "accuracy": 2.0},
    ]


def test_a_record_says_what_another_than_the_cpu_made(tmp_path):
    write_people(tmp_path / "people", images=4)
    config = dataclasses.replace(TINY, epochs=0.1)
    record = train_recogniser(
        tmp_path / "people", tmp_path / "c", config, precision="bfloat16"
    )
    assert record["device"] == "cpu, bfloat16"
    assert not {"device", "precision"} & set(record["settings"])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_smaller_precision_changes_little_and_resumes_in_another(
    tmp_path, precision, monkeypatch
):
    """On the CPU, which computes in them, slowly."""
    people, config = tmp_path / "people", dataclasses.replace(TINY, epochs=0.3)
    write_people(people, images=4)

    def fail(*arguments):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="is full"):
        patch.setattr(training, "finish", fail)
        train_recogniser(people, tmp_path / "c", config, precision=precision)
    tensors, saved = load_progress(tmp_path / "c")
    assert ("scaler.scale" in tensors) == (precision == "float16")
    assert tensors["backbone.fc.weight"].dtype == torch.float32
    exact = train_recogniser(people, tmp_path / "exact", config)
    (row,) = exact["history"]
    assert saved["counts"]["history"][0]["loss"] == pytest.approx(row["loss"], rel=0.02)
    assert saved["counts"]["history"][0]["loss"] != row["loss"]
    resumed = train_recogniser(people, tmp_path / "c", config)
    assert resumed["complete"] and resumed["settings"] == exact["settings"]
    assert "device" not in exact and "device" not in resumed
