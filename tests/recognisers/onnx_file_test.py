"""Recognisers in ONNX files: what they are given, and what is refused."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bridges.recognisers.recogniser import load_recogniser
from hyperface_jax import InputError
from tests.onnx_files import SFACE, with_runtime

RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.normal(size=(3 * 16 * 16, 5)).astype(np.float32)
IMAGES = RANDOM.integers(0, 256, (5, 16, 16, 3), np.uint8)


def write(
    path,
    *,
    batch="n",
    scaled=None,
    outputs=("y",),
    rows=True,
    side=16,
    weights=WEIGHTS,
):
    """A linear recogniser of 16 px, which scales by ``scaled``, if anything, itself."""
    nodes, last = [], "x"
    by = {"Mul": 1 / 127.5, "Div": 127.5}.get(scaled, 1)
    constants = {"w": weights, "mean": np.float32(127.5), "by": np.float32(by)}
    if scaled:
        nodes += [helper.make_node("Sub", ["x", "mean"], ["a"])]
        nodes += [helper.make_node(scaled, ["a", "by"], ["b"])]
        last = "b"
    nodes += [helper.make_node("Flatten", [last], ["f"])]
    nodes += [helper.make_node("Gemm", ["f", "w"], ["y" if rows else "g"])]
    if not rows:
        nodes += [helper.make_node("Unsqueeze", ["g", "axis"], ["y"])]
        constants["axis"] = np.array([1])
    nodes += [helper.make_node("Identity", ["f"], [o]) for o in outputs if o != "y"]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def expected(images):
    """Unit rows of image plus mirror image of RGB in [-1, 1]."""
    x = (images.astype(np.float64) - 127.5) / 127.5
    both = [v.transpose(0, 3, 1, 2).reshape(len(v), -1) for v in (x, x[:, :, ::-1])]
    rows = (both[0] + both[1]) @ WEIGHTS
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("scaled", [None, "Mul", "Div"])
@pytest.mark.parametrize("batch", ["n", 1, 2])
def test_pixels_are_scaled_once_whatever_the_batch(tmp_path, batch, scaled):
    path = write(tmp_path / "arcface.ONNX", batch=batch, scaled=scaled)
    recogniser = load_recogniser(path, device="cpu")
    assert (recogniser.image_size, recogniser.embedding_size) == (16, 5)
    np.testing.assert_allclose(recogniser.embed(IMAGES), expected(IMAGES), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"outputs": ("y", "z")}, "1 inputs and 2 outputs, expected one of each"),
        ({"rows": False}, r"gives \(1, 1, 5\) for an image"),
        ({"side": 24}, "no network that onnxruntime reads"),
        ({"weights": WEIGHTS * np.inf}, "gives no finite numbers for an image"),
    ],
)
def test_what_is_no_recogniser_is_refused(tmp_path, settings, reason):
    path = write(tmp_path / "other.onnx", **settings)
    with pytest.raises(InputError, match=reason) as error:
        load_recogniser(path, device="cpu")
    assert "\n" not in str(error.value)
    path.write_bytes(b"none")
    with pytest.raises(InputError, match=r"other\.onnx: no ONNX file"):
        load_recogniser(path, device="cpu")


def test_sface_takes_rgb_of_0_to_255_by_name_and_by_file(tmp_path):
    images = RANDOM.integers(0, 256, (2, 112, 112, 3), np.uint8)
    copy = tmp_path / "renamed.onnx"
    copy.write_bytes(SFACE.read_bytes())
    by_name, by_file = (load_recogniser(m, device="cpu") for m in ("sface", copy))
    assert by_name.model == by_file.model and by_name.embedding_size == 128
    raw = np.concatenate(
        [
            with_runtime(SFACE, image.transpose(2, 0, 1)[None].astype(np.float32))[
                "fc1"
            ]
            for image in images
        ]
    )
    rows = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    for recogniser in (by_name, by_file):
        found = recogniser.embed(images, flip=False)
        np.testing.assert_allclose(found, rows, atol=1e-5)


def test_weights_that_are_elsewhere_are_refused(tmp_path, monkeypatch):
    model = onnx.load(write(tmp_path / "whole.onnx"))
    monkeypatch.chdir(tmp_path)  # Where onnxruntime itself would read them from.
    onnx.save_model(
        model, "parted.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    with pytest.raises(InputError, match="weights in other files are not read"):
        load_recogniser("parted.onnx", device="cpu")


def test_embeddings_of_any_length_become_unit_rows(tmp_path):
    # The longest whose numbers float32 can hold, but not their sum with the mirror's.
    x = (IMAGES.astype(np.float64) - 127.5) / 127.5
    both = [v.transpose(0, 3, 1, 2).reshape(len(v), -1) for v in (x, x[:, :, ::-1])]
    sums = np.abs(sum(both) @ WEIGHTS).max()
    largest = max(np.abs(v @ WEIGHTS).max() for v in both)
    scale = 0.9 * np.finfo(np.float32).max / largest
    assert scale * sums > np.finfo(np.float32).max
    path = write(tmp_path / "arcface.onnx", weights=(WEIGHTS * scale).astype("f4"))
    rows = load_recogniser(path, device="cpu").embed(IMAGES)
    np.testing.assert_allclose(rows, expected(IMAGES), atol=1e-5)


def test_nothing_is_reported_or_left_in_the_home_folder(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    program = (
        "from bridges.recognisers.recogniser import load_recogniser\n"
        f"load_recogniser({str(write(tmp_path / 'a.onnx'))!r}, device='cpu')"
    )
    kept = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment = {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert [path for path in home.rglob("*") if path.is_file()] == []
