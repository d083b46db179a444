"""Several processes under torchrun take the steps of one with the whole batch."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bridges.recognition import training
from bridges.recognition.training import train_recogniser
from bridges.training.data_parallel import Workers
from hyperface_jax import InputError
from tests.recognition.training_test import TINY, write_people

CONFIG = dataclasses.replace(
    TINY, epochs=2.5, optimizer="sgd", learning_rate=0.02, validation_share=0.4
)
FLAGS = ["--image_size=32", "--embedding_size=16", "--batch_size=16", "--epochs=2.5"]
FLAGS += ["--optimizer=sgd", "--learning_rate=0.02", "--validation_share=0.4"]


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("people") / "dataset"
    write_people(folder, identities=8)
    return folder


def torchrun(*arguments: object) -> subprocess.CompletedProcess:
    command = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    return subprocess.run(
        [sys.executable, *command, *map(str, arguments)], capture_output=True, text=True
    )


def test_two_processes_equal_one(people, tmp_path):
    done = torchrun(
        *("-m", "bridges.cli.train", f"--dataset={people}", "--num_threads=1"),
        *(f"--output={tmp_path / 'two'}", *FLAGS),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained on") == 1, "the first process speaks for both"
    # Two bars, of what is trained on and of who is held out, at 0 and at 100 %.
    assert done.stderr.count("reading images") == 4
    one = train_recogniser(people, tmp_path / "one", CONFIG, num_threads=1)
    two = json.loads((tmp_path / "two/training.json").read_text())
    assert two["settings"] == one["settings"] and two["processes"] == 2
    for ours, theirs in zip(two["history"], one["history"], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=2e-3)
        assert ours["step"] == theirs["step"]
    found, expected = (
        load_file(tmp_path / name / "model.safetensors") for name in ("two", "one")
    )
    for name, value in expected.items():
        # Rounding differs, and steps amplify it; a wrong gradient would be off by more.
        difference = (found[name].double() - value.double()).norm()
        assert difference <= 0.02 * value.double().norm() + 1e-4, name


def test_a_batch_that_cannot_be_divided_is_refused():
    config = dataclasses.replace(TINY, batch_size=18, accumulation=3)
    training.check_division(config, Workers(0, 2))
    with pytest.raises(InputError, match="not divisible by 4 processes times accum"):
        training.check_division(config, Workers(0, 4))


NORMS = """
import sys
import torch
from torch import distributed
from bridges.devices import Device
from bridges.training.torchrun import gathered, join, leave, synchronise_norms

workers = join("cpu", "float32")
data = torch.load(sys.argv[1], weights_only=True)
network = torch.nn.Sequential(
    torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.BatchNorm1d(48, affine=False)
)
network.load_state_dict(data["state"])
network = synchronise_norms(network, Device())
rows = slice(4 * workers.rank, 4 * workers.rank + 4)
x = data["x"][rows].requires_grad_()
out = network(x)
(out * data["weights"][rows]).sum().backward()
gradient = network[0].weight.grad
distributed.all_reduce(gradient)
result = {"out": gathered(out.detach()), "x": gathered(x.grad), "weight": gradient}
result |= {f"state.{name}": value for name, value in network.state_dict().items()}
if not workers.rank:
    torch.save(result, sys.argv[2])
leave()
"""


def test_batch_norms_see_the_batches_of_all(tmp_path):
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.BatchNorm2d(3), nn.Flatten(), nn.BatchNorm1d(48, affine=False)
    )
    nn.init.uniform_(network[0].weight, 0.5, 2, generator=generator)
    x = 3 * torch.randn(8, 3, 4, 4, generator=generator) + 1
    weights = torch.randn(8, 48, generator=generator)
    data = {"state": network.state_dict(), "x": x, "weights": weights}
    torch.save(data, tmp_path / "data.pt")
    (tmp_path / "norms.py").write_text(NORMS)
    done = torchrun(tmp_path / "norms.py", tmp_path / "data.pt", tmp_path / "found.pt")
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    x.requires_grad_()
    out = network(x)
    (out * weights).sum().backward()
    expected = {"out": out.detach(), "x": x.grad, "weight": network[0].weight.grad}
    expected |= {f"state.{name}": value for name, value in network.state_dict().items()}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(
            found[name], value, rtol=1e-4, atol=1e-5, err_msg=name
        )


APART = """
import json, sys
import numpy as np
import torch
from bridges.recognition import loop
from bridges.recognition.config import TrainingConfig
from bridges.recognition.history import TrainingCounts, fetch
from bridges.recognition.state import init_training
from bridges.recognition.steps import step_generator, train_step
from bridges.training import torchrun
from hyperface_jax import InputError

class People:
    name, labelled, identities, labels = "people", True, range(4), np.arange(16) % 4
    records = [{"gender": "female" if i % 2 else "male"} for i in range(16)]

workers = torchrun.join("cpu", "float32")
other, nan = workers.rank, float("nan")
said = [
    {"loss": 1.0 + other, "a": 3.0, "b": nan},
    {"loss": nan if other else 1.0, "a": nan if other else 5.0, "b": 2.0},
]
said = [{k: torch.tensor(v) for k, v in step.items()} for step in said]
counts = TrainingCounts(skipped={f"image {other}": "broken"})
loop._share_skipped(counts, workers)
config = TrainingConfig(
    image_size=32, embedding_size=16, batch_size=8, tasks=("identity", "gender"),
    task_weights={"gender": 0}, weight_decay=0.5,
)
state = init_training(config, [People], synchronised=True)
head = state.tasks["gender"].head.linear.weight
with torch.no_grad():
    head.fill_(1.0)
images = torch.zeros((4, 3, 32, 32), dtype=torch.uint8)
targets = {n: torch.as_tensor(t.targets[:4]) for n, t in state.tasks.items()}
train_step(
    state, images, targets, config, progress=0.5,
    generator=step_generator(0, 0), workers=workers,
)
result = {
    "fetched": fetch(said, workers), "skipped": counts.skipped,
    "silenced": head.unique().tolist(),
}
if not other:
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(result, file)

torchrun.check_same_step(workers, 7, "out")
try:
    torchrun.check_same_step(workers, 7 * other, "out")
except InputError as error:
    print(f"{other} refuses: {error}", flush=True)

@torchrun.shared
def fail():
    if not other:
        raise InputError("only here")
    workers.share(None)

try:
    fail()
except Exception as error:
    print(f"{other}: {type(error).__name__}: {error}", flush=True)
torchrun.leave()
"""


def test_what_one_of_them_says_and_the_other_does_not(tmp_path):
    (tmp_path / "apart.py").write_text(APART)
    done = torchrun(tmp_path / "apart.py", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    first, second = found["fetched"]
    assert first["loss"] == 1.5 and first["a"] == 3.0 and np.isnan(first["b"])
    # A loss that is not finite in one process stops all; a metric is of who knows it.
    assert np.isnan(second["loss"]) and second["a"] == 5.0 and second["b"] == 2.0
    assert found["skipped"] == {"image 0": "broken", "image 1": "broken"}
    assert found["silenced"] == [1.0], "no weight decay without a gradient"
    for rank in (0, 1):
        assert (
            f"{rank} refuses: out: processes found checkpoints of the steps 0, 7"
            in (done.stdout)
        ), done.stderr
    assert "0: InputError: only here" in done.stdout, done.stderr
    assert "1: ConnectionError: process 1: another process has ended" in done.stdout
