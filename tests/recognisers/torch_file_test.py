"""Published weights of PyTorch: laid out as there, against a forward written here."""

import argparse
import os
import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bridges.recognisers.recogniser import load_recogniser
from bridges.recognition.backbones import build_backbone
from hyperface_jax import InputError
from tests.recognisers.published_layouts import (
    adaface_forward,
    insightface_forward,
    randomised,
)


def expected(forward, state, images, depths, *, bgr):
    """Unit rows of image plus mirror image, in double precision."""
    state = {key: value.double() for key, value in state.items()}
    x = torch.from_numpy(images).permute(0, 3, 1, 2).double()
    x = (x.flip(1) if bgr else x) / 255
    x = (x - 0.5) / 0.5
    raw = forward(state, x, depths) + forward(state, x.flip(3), depths)
    return F.normalize(raw).numpy()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (3, 8, 8, 3), np.uint8)
    return coarse.repeat(4, 1).repeat(4, 2)


@pytest.mark.parametrize(
    ("name", "depths"), [("ir_18", (2, 2, 2, 2)), ("ir_50", (3, 4, 14, 3))]
)
def test_adafaces_lightning_checkpoints_take_bgr(tmp_path, images, name, depths):
    state = randomised(name)
    kept = {f"model.{key}": value for key, value in state.items()}
    kept["head.kernel"] = torch.zeros(8, 5)
    path = tmp_path / "HyperFace_10k.ckpt"
    hparams = argparse.Namespace(arch=name, lr=0.1)
    torch.save({"state_dict": kept, "hyper_parameters": hparams, "epoch": 25}, path)
    recogniser = load_recogniser(path, device="cpu")
    assert recogniser.model["name"] == "HyperFace_10k"
    assert (recogniser.image_size, recogniser.embedding_size) == (32, 8)
    rows = recogniser.embed(images)
    right = expected(adaface_forward, state, images, depths, bgr=True)
    wrong = expected(adaface_forward, state, images, depths, bgr=False)
    np.testing.assert_allclose(rows, right, atol=1e-4)
    assert np.abs(rows - wrong).max() > 0.01


@pytest.mark.parametrize(
    ("name", "depths", "prefix"),
    [
        ("iresnet18", (2, 2, 2, 2), ""),
        ("iresnet18", (2, 2, 2, 2), "module."),
        ("iresnet50", (3, 4, 14, 3), ""),
    ],
)
def test_insightfaces_state_dicts_take_rgb(tmp_path, images, name, depths, prefix):
    state = randomised(name)
    path = tmp_path / "backbone.pth"
    torch.save({prefix + key: value for key, value in state.items()}, path)
    rows = load_recogniser(path, device="cpu").embed(images)
    right = expected(insightface_forward, state, images, depths, bgr=False)
    wrong = expected(insightface_forward, state, images, depths, bgr=True)
    np.testing.assert_allclose(rows, right, atol=1e-4)
    assert np.abs(rows - wrong).max() > 0.01


def refusal(path) -> str:
    with pytest.raises(InputError) as error:
        load_recogniser(path, device="cpu")
    message = str(error.value)
    assert str(path) in message and "\n" not in message
    return message


def test_other_weights_are_refused_tensor_by_tensor(tmp_path):
    path, state = tmp_path / "backbone.pth", randomised("ir_18")
    state["body.9.res_layer.0.weight"] = state.pop("body.3.res_layer.0.weight")
    state["body.0.res_layer.3.weight"] = torch.zeros(7)
    torch.save(state, path)
    assert refusal(path).endswith(
        "not the tensors of ir_18: 1 missing (body.3.res_layer.0.weight); 1 unexpected "
        "(body.9.res_layer.0.weight); 1 of another shape (body.0.res_layer.3.weight)"
    )
    torch.save({"weight": torch.zeros(3)}, path)
    assert "no backbone of insightface or AdaFace (1 tensors: weight" in refusal(path)
    torch.save([1, 2], path)
    assert "holds a list, expected tensors" in refusal(path)
    short = {k: v for k, v in randomised("ir_18").items() if "body.7." not in k}
    torch.save(short, path)
    assert "a backbone of 7 blocks, expected one of ir_18, ir_34" in refusal(path)


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("legacy", [False, True])
def test_no_code_in_a_file_is_run(tmp_path, legacy):
    path, trace = tmp_path / "model.ckpt", tmp_path / "was_run"
    content = {"state_dict": {}, "evil": Malicious(f"touch {trace}")}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    assert "not read" in refusal(path)
    path.write_bytes(pickle.dumps(content))
    refusal(path)
    assert not trace.exists()


def test_files_that_are_no_weights_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    assert refusal(path).endswith("no such file")
    torch.save(randomised("ir_18"), path)
    content = path.read_bytes()
    for damaged in (b"", b"text", content[:1000], content[:-1000]):
        path.write_bytes(damaged)
        refusal(path)


def test_tensors_that_are_no_weights_are_refused_by_name(tmp_path):
    path, name = tmp_path / "model.pth", "input_layer.1.running_var"
    state, at = randomised("ir_18"), torch.zeros(1, 1, dtype=torch.long)
    for other, reason in (
        (torch.zeros(64, dtype=torch.complex64), "is of torch.complex64, expected"),
        (torch.zeros(64, dtype=torch.int32), "is of torch.int32, expected floats"),
        (torch.sparse_coo_tensor(at, torch.ones(1), (64,)), "is no plain tensor"),
        (torch.zeros(64, device="meta"), "is no plain tensor"),
    ):
        torch.save({**state, name: other}, path)
        assert f"{name} {reason}" in refusal(path)
    torch.save({**state, "output_layer.3.weight": torch.zeros(1, 512)}, path)
    assert refusal(path).endswith(
        "model.pth: embedding_size is 1, must be at least 2 and at most 65536"
    )


def test_a_small_file_cannot_ask_for_all_memory(tmp_path):
    path = tmp_path / "model.pth"
    with torch.device("meta"):
        huge = build_backbone("ir_18", image_size=1024, embedding_size=65536)
    one = torch.zeros(())
    torch.save({k: one.expand(v.shape) for k, v in huge.state_dict().items()}, path)
    assert path.stat().st_size < 1e5
    assert "fewer numbers are stored" in refusal(path)
