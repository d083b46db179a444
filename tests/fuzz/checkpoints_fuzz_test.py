"""Damaged models and states of trainings are read, or refused by name."""

import json

import pytest
import torch

from bridges.generators.arc2face.file_faults import fault_of
from bridges.generators.arc2face.networks import load_vae, read_state
from bridges.generators.generator import load_generator
from bridges.recognisers.recogniser import load_recogniser
from bridges.recognition.checkpoint import load_progress, save_progress
from bridges.training.data_parallel import Workers
from bridges.training.timed_training import CHECKPOINT, train_for
from tests.fuzz.readers import survive
from tests.generation import arc2face_files
from tests.generation.tiny_models import save_tiny_generator, save_tiny_recogniser


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_recognisers(tmp_path, name):
    save_tiny_recogniser(tmp_path)
    content = (tmp_path / name).read_bytes()
    survive(tmp_path / name, content, lambda path: load_recogniser(path.parent))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_generators(tmp_path, name):
    save_tiny_generator(tmp_path, {"name": "tiny", "sha256": "0" * 64})
    content = (tmp_path / name).read_bytes()
    survive(tmp_path / name, content, lambda path: load_generator(path.parent))


@pytest.mark.parametrize("name", ["config.json", "diffusion_pytorch_model.safetensors"])
def test_networks_of_arc2face(tmp_path, name):
    arc2face_files.write(tmp_path)
    folder = tmp_path / "base" / "vae"
    files = [folder / "config.json", folder / "diffusion_pytorch_model.safetensors"]
    content = (folder / name).read_bytes()
    survive(folder / name, content, lambda path: load_vae(*files))
    survive(folder / name, content, fault_of)


def test_torch_files_of_arc2face(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.ones(3), "b": torch.zeros(2, 2)}, path)
    content = path.read_bytes()
    survive(path, content, read_state)
    survive(path, content, fault_of)


def test_onnx_files_of_arc2face(tmp_path):
    path = tmp_path / "arcface.onnx"
    arc2face_files.write_arcface(path)
    survive(path, path.read_bytes(), fault_of)


def test_states_of_recognition_trainings(tmp_path):
    save_progress(tmp_path, {"weight": torch.ones(3)}, {"data": {}, "counts": {}})
    (path,) = tmp_path.iterdir()
    survive(path, path.read_bytes(), lambda path: load_progress(path.parent))


def test_states_of_timed_trainings(tmp_path):
    layer = torch.nn.Linear(2, 2)
    state = {"model": layer, "optimizer": torch.optim.AdamW(layer.parameters())}

    def train(path, seconds=0.0):
        return train_for(
            seconds,
            lambda progress, step: {"loss": 1.0},
            state,
            path.parent,
            settings={"rate": 0.5},
            images_per_step=1,
            workers=Workers(0, 1),
            checkpoint_every=0.0,
        )

    train(tmp_path / CHECKPOINT, seconds=0.05)
    content = (tmp_path / CHECKPOINT).read_bytes()
    survive(tmp_path / CHECKPOINT, content, train)


def test_records_of_runs(tmp_path):
    from bridges.demo.recorder import Stage, StageRecorder

    stages = [Stage("render", "faces", lambda: None)]
    StageRecorder(tmp_path, {"seed": 1}, stages, print).run()
    content = (tmp_path / "run.json").read_bytes()
    assert json.loads(content)["stages"]

    def open_again(path):
        StageRecorder(path.parent, {"seed": 1}, stages, print).run()

    survive(tmp_path / "run.json", content, open_again)
