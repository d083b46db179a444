"""Recognisers as ONNX files: against forwards written here, and in every reader."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from bridges.cli import embed, export
from bridges.devices import Device
from bridges.recognisers.export_config import ExportConfig
from bridges.recognisers.network import NetworkRecogniser
from bridges.recognisers.onnx_export import export_recogniser
from bridges.recognisers.recogniser import RECOGNISERS, load_recogniser
from bridges.recognition.backbones import build_backbone
from bridges.recognition.checkpoint import save_network
from hyperface_jax import InputError, files, load_embeddings
from tests.recognisers.published_layouts import adaface_forward, randomised

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def state():
    return randomised("ir_18")


@pytest.fixture(scope="module")
def adaface(tmp_path_factory, state):
    """A checkpoint as AdaFace publishes them, which takes BGR."""
    path = tmp_path_factory.mktemp("adaface") / "adaface.ckpt"
    torch.save({"state_dict": {f"model.{k}": v for k, v in state.items()}}, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recogniser as hyperface-train leaves it."""
    folder = tmp_path_factory.mktemp("trained") / "checkpoint"
    torch.manual_seed(0)
    network = build_backbone("iresnet_small", image_size=32, embedding_size=16)
    with torch.no_grad():
        for _ in range(5):
            network(torch.rand(16, 3, 32, 32) * 2 - 1)
    config = {"backbone": "iresnet_small", "image_size": 32, "embedding_size": 16}
    save_network(folder, network, config)
    return folder


def run(path, x):
    session = onnxruntime.InferenceSession(path.read_bytes())
    (given,) = session.get_inputs()
    return session.run(None, {given.name: x.astype(np.float32)})[0]


@pytest.mark.parametrize(
    ("input", "normalise", "opset", "flip"),
    [
        ("scaled", False, 17, False),
        ("pixels", True, 11, True),
        ("pixels", False, 20, True),
    ],
)
def test_a_file_gives_what_the_network_gives(
    tmp_path, adaface, state, input, normalise, opset, flip
):
    path = tmp_path / "a.onnx"
    config = ExportConfig(opset, input, normalise, flip)
    record = export_recogniser(adaface, path, config).record
    double = {key: value.double() for key, value in state.items()}
    x = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).flip(1).double() / 127.5 - 1
    expected = adaface_forward(double, x, (2, 2, 2, 2))
    if flip:
        expected += adaface_forward(double, x.flip(3), (2, 2, 2, 2))
    scale = expected.norm(dim=1, keepdim=True)
    expected = (expected / (scale if normalise else 1)).numpy()
    pixels = IMAGES.transpose(0, 3, 1, 2).astype(np.float64)
    given = pixels if input == "pixels" else (pixels - 127.5) / 127.5
    atol = 1e-4 if normalise else 1e-4 * scale.max().item()
    for batch in (slice(0, 1), slice(0, 3)):
        np.testing.assert_allclose(run(path, given[batch]), expected[batch], atol=atol)
    assert 0 < record["largest_difference"] < 1e-4
    (opsets,) = onnx.load(path).opset_import
    assert opsets.version == opset


@pytest.mark.parametrize("input", ["scaled", "pixels"])
def test_insightface_finds_the_scaling_where_there_is_one(tmp_path, folder, input):
    path = tmp_path / "a.onnx"
    export_recogniser(folder, path, ExportConfig(input=input))
    names = [node.name for node in onnx.load(path).graph.node[:8]]
    # The rule of its model_zoo/arcface_onnx.py.
    found = [any(n.startswith(kind) for n in names) for kind in ("Sub", "Mul")]
    assert found == [input == "pixels"] * 2


def test_embedding_with_the_file_is_embedding_with_the_folder(tmp_path, folder, call):
    (tmp_path / "faces").mkdir()
    for i, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / "faces" / f"{i}.png")
    path = tmp_path / "recogniser.onnx"
    code, said, _ = call(export, checkpoint=folder, output=path)
    assert code == 0 and "checkpoint, opset 17: RGB [n, 3, 32, 32] from -1 to 1" in said
    rows = []
    for model in (folder, path):
        output = tmp_path / f"{model.stem}.npz"
        settings = {"images": tmp_path / "faces", "model": model, "output": output}
        assert call(embed, **settings)[0] == 0
        rows.append(load_embeddings(output).embeddings)
    np.testing.assert_allclose(*rows, atol=1e-5)


def test_the_example_of_the_page_runs(tmp_path, folder, monkeypatch, root):
    page = (root / "docs" / "onnx.md").read_text("utf-8")
    example = page.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    export_recogniser(folder, "recogniser.onnx")
    Image.fromarray(IMAGES[0]).save("face.png")
    names = {}
    exec(example, names)
    expected = load_recogniser(folder, device="cpu").embed(IMAGES[:1])[0]
    np.testing.assert_allclose(names["embedding"], expected, atol=1e-5)


@pytest.mark.parametrize("input", ["scaled", "pixels"])
def test_features_are_the_folders_with_and_without_mirror_images(
    tmp_path, folder, input
):
    path = tmp_path / "a.onnx"
    config = ExportConfig(input=input, normalise=False, flip=False)
    export_recogniser(folder, path, config)
    one, two = (load_recogniser(place, device="cpu") for place in (folder, path))
    for flip in (False, True):
        expected = one.embed(IMAGES, flip=flip)
        np.testing.assert_allclose(two.embed(IMAGES, flip=flip), expected, atol=1e-5)


def test_the_file_says_what_it_is_and_comes_out_the_same(tmp_path, folder):
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for path in paths:
        export_recogniser(folder, path, ExportConfig(licence="CC BY 4.0"))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    model = onnx.load(paths[0])
    (entry,) = model.metadata_props
    record = json.loads(entry.value)
    digest = files.sha256_of(folder / "model.safetensors")
    assert record["model"] == {"name": "checkpoint", "sha256": digest}
    assert (record["channels"], record["range"]) == ("RGB", [-1, 1])
    assert record["licence"] == "CC BY 4.0" and "CC BY 4.0" in model.doc_string
    sizes = [
        [dim.dim_param or dim.dim_value for dim in each.type.tensor_type.shape.dim]
        for each in (*model.graph.input, *model.graph.output)
    ]
    assert sizes == [["n", 3, 32, 32], ["n", 16]]
    shipped = export_recogniser("recogniser_f", tmp_path / "f.onnx").record
    assert shipped["licence"] == "Apache-2.0"


def test_a_file_of_other_settings_is_kept(tmp_path, folder):
    path = tmp_path / "a.onnx"
    made = export_recogniser(folder, path)
    before = path.stat().st_mtime_ns
    assert export_recogniser(folder, path) == made
    with pytest.raises(InputError, match="made with flip = True, asked for False"):
        export_recogniser(folder, path, ExportConfig(flip=False))
    assert path.stat().st_mtime_ns == before
    (tmp_path / "other.onnx").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"other\.onnx: exists and is no export"):
        export_recogniser(folder, tmp_path / "other.onnx")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"checkpoint": "sface"}, "sface: can't be exported"),
        ({"checkpoint": "nothing"}, "nothing: no recogniser there"),
        ({"output": "a.pth"}, "ends in .onnx"),
        ({"opset": 25}, "opset is 25, must be at least 11 and at most 20"),
        ({"input": "bytes"}, "--input"),
    ],
)
def test_refusals_are_a_line(tmp_path, monkeypatch, call, settings, reason):
    monkeypatch.chdir(tmp_path)
    given = {"checkpoint": "recogniser_f", "output": "a.onnx", **settings}
    code, _, errors = call(export, **given)
    assert code == 2 and errors.count("\n") == 1 and reason in errors
    assert list(tmp_path.iterdir()) == []


class OfFewOrMany(torch.nn.Module):
    """Computes many images otherwise than a few, which a trace can't follow."""

    def forward(self, x):
        rows = F.adaptive_avg_pool2d(x, 2).flatten(1)
        return rows if len(x) < 3 else rows.flip(1)


class Broken(torch.nn.Module):
    """Gives no numbers."""

    def forward(self, x):
        return F.adaptive_avg_pool2d(x, 2).flatten(1) / 0


@pytest.mark.parametrize(
    ("network", "difference"), [(OfFewOrMany, r"[\d.]+"), (Broken, "nan")]
)
def test_what_onnxruntime_computes_otherwise_is_not_written(
    tmp_path, monkeypatch, network, difference
):
    def load(place, device):
        model = {"name": "own", "sha256": "0" * 64}
        sizes = {"image_size": 8, "embedding_size": 12}
        return NetworkRecogniser(network(), **sizes, model=model, device=Device())

    monkeypatch.setattr(RECOGNISERS, "_entries", dict(RECOGNISERS._entries))
    RECOGNISERS.register("own", load)
    with pytest.raises(InputError, match=f"differ from torch's by {difference}, more"):
        export_recogniser("own", tmp_path / "a.onnx", ExportConfig(flip=False))
    assert list(tmp_path.iterdir()) == []
