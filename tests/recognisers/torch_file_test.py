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

EPS = 1e-5


def randomised(name: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """A state dict of a backbone for 32 px, every tensor of it random."""
    random = torch.Generator().manual_seed(seed)
    state = {}
    with torch.device("meta"):
        network = build_backbone(name, image_size=32, embedding_size=8)
    for key, value in network.state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        spread = torch.rand(value.shape, generator=random)
        if value.ndim > 1:
            state[key] = (spread - 0.5) * (12 / value[0].numel()) ** 0.5
        elif key.endswith("running_mean") or key.endswith("bias"):
            state[key] = spread - 0.5
        else:
            state[key] = spread + 0.5
    return state


def normalised(x, state, name):
    """Batch normalisation in evaluation, by its definition."""
    shape = (1, -1, *[1] * (x.ndim - 2))
    mean, variance = (state[f"{name}.running_{k}"] for k in ("mean", "var"))
    x = (x - mean.view(shape)) / (variance.view(shape) + EPS).sqrt()
    if f"{name}.weight" in state:
        x = x * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)
    return x


def adaface_forward(state, x, depths):
    """IR as the description of AdaFace's net.py has it."""

    def prelu(x, name):
        return torch.where(x > 0, x, x * state[f"{name}.weight"].view(1, -1, 1, 1))

    def convolved(x, name, stride, padding):
        return F.conv2d(x, state[f"{name}.weight"], None, stride, padding)

    x = convolved(x, "input_layer.0", 1, 1)
    x = prelu(normalised(x, state, "input_layer.1"), "input_layer.2")
    k = 0
    for depth in depths:
        for i in range(depth):
            at, stride = f"body.{k}", 2 if i == 0 else 1
            if f"{at}.shortcut_layer.0.weight" in state:
                way = convolved(x, f"{at}.shortcut_layer.0", stride, 0)
                way = normalised(way, state, f"{at}.shortcut_layer.1")
            else:
                way = x[:, :, ::stride, ::stride]
            y = normalised(x, state, f"{at}.res_layer.0")
            y = convolved(y, f"{at}.res_layer.1", 1, 1)
            y = prelu(normalised(y, state, f"{at}.res_layer.2"), f"{at}.res_layer.3")
            y = convolved(y, f"{at}.res_layer.4", stride, 1)
            x = way + normalised(y, state, f"{at}.res_layer.5")
            k += 1
    x = normalised(x, state, "output_layer.0").flatten(1)
    x = x @ state["output_layer.3.weight"].T + state["output_layer.3.bias"]
    return normalised(x, state, "output_layer.4")


def insightface_forward(state, x, depths):
    """iresnet as the description of arcface_torch has it."""

    def prelu(x, name):
        return torch.where(x > 0, x, x * state[f"{name}.weight"].view(1, -1, 1, 1))

    x = F.conv2d(x, state["conv1.weight"], None, 1, 1)
    x = prelu(normalised(x, state, "bn1"), "prelu")
    for stage, depth in enumerate(depths, 1):
        for i in range(depth):
            at, stride = f"layer{stage}.{i}", 2 if i == 0 else 1
            y = normalised(x, state, f"{at}.bn1")
            y = F.conv2d(y, state[f"{at}.conv1.weight"], None, 1, 1)
            y = prelu(normalised(y, state, f"{at}.bn2"), f"{at}.prelu")
            y = F.conv2d(y, state[f"{at}.conv2.weight"], None, stride, 1)
            y = normalised(y, state, f"{at}.bn3")
            if i == 0:
                x = F.conv2d(x, state[f"{at}.downsample.0.weight"], None, stride, 0)
                x = normalised(x, state, f"{at}.downsample.1")
            x = x + y
    x = normalised(x, state, "bn2").flatten(1)
    x = x @ state["fc.weight"].T + state["fc.bias"]
    return normalised(x, state, "features")


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
