"""ONNX networks in torch, against onnxruntime on the files that are used."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from bridges.onnx_network import OnnxNetwork
from hyperface_jax import InputError
from tests.onnx_files import SFACE, YUNET, with_runtime


@pytest.mark.parametrize(("path", "side"), [(SFACE, 112), (YUNET, 640)])
def test_networks_equal_onnxruntime_image_by_image(path, side):
    x = np.random.default_rng(0).integers(0, 256, (2, 3, side, side))
    x = x.astype(np.float32)
    found = OnnxNetwork(path)(torch.from_numpy(x))
    for row in range(len(x)):
        expected = with_runtime(path, x[row : row + 1])
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(found[name][row], values[0], atol=2e-5)


def save(path, nodes, constants, inputs=("x",), outputs=("y",)):
    """Writes a graph of a few nodes."""
    shape = ["n", 2, 4, 4]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(i, TensorProto.FLOAT, shape) for i in inputs],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph), path)
    return path


def test_a_normalisation_is_folded_only_where_nobody_else_looks(tmp_path):
    random = np.random.default_rng(0)
    constants = {
        "w": random.normal(size=(3, 2, 3, 3)).astype(np.float32),
        **{name: random.uniform(0.5, 2, 3).astype(np.float32) for name in "gbmv"},
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[0, 1, 1, 0]),
        helper.make_node("BatchNormalization", ["c", *"gbmv"], ["d"], epsilon=1e-3),
        helper.make_node("Add", ["c", "d"], ["y"]),
    ]
    x = random.normal(size=(2, 2, 4, 4)).astype(np.float32)
    for outputs, last in ((("y",), 3), (("d",), 2)):
        path = save(tmp_path / "n.onnx", nodes[:last], constants, outputs=outputs)
        (expected,) = with_runtime(path, x).values()
        (found,) = OnnxNetwork(path)(torch.from_numpy(x)).values()
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_is_not_computed_here_is_refused_by_name(tmp_path):
    path = tmp_path / "n.onnx"

    def refused(*nodes, match, constants=None, **ends):
        save(path, nodes, constants or {}, **ends)
        with pytest.raises(InputError, match=match) as error:
            OnnxNetwork(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)

    node = helper.make_node
    refused(node("Erf", ["x"], ["y"]), match="operator Erf is not known")
    refused(node("Relu", ["x"], ["y"], slope=1.0), match="operator Relu of another")
    both = node("Add", ["x", "z"], ["y"])
    refused(both, match="2 inputs, expected one", inputs=("x", "z"))
    refused(both, match="takes 'z', made by nothing")
    refused(node("Relu", ["x"], ["z"]), match="output 'y' is made by nothing")
    weights = {"w": np.zeros((1, 2, 1, 1), np.float32)}
    refused(
        node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER"),
        match="Conv with auto_pad = 'SAME_UPPER', expected 'NOTSET'",
        constants=weights,
    )


def test_files_that_are_no_networks_are_refused(tmp_path):
    path = tmp_path / "n.onnx"
    with pytest.raises(InputError, match=r"n\.onnx: can't be read, No such file"):
        OnnxNetwork(path)
    for content in (b"", b"no network", SFACE.read_bytes()[:1000]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"n\.onnx: "):
            OnnxNetwork(path)


def test_weights_elsewhere_are_not_read(tmp_path):
    model = onnx.load(YUNET)
    onnx.save_model(
        model,
        tmp_path / "n.onnx",
        save_as_external_data=True,
        location="weights",
        size_threshold=0,
    )
    with pytest.raises(InputError, match="weights in other files are not read"):
        OnnxNetwork(tmp_path / "n.onnx")


def test_constants_elsewhere_are_not_read_either(tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(np.ones(4, np.float32).tobytes())
    monkeypatch.chdir(tmp_path)  # What a relative name would be looked up in.
    value = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1, 1, 2, 2])
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="secret")
    nodes = [
        helper.make_node("Constant", [], ["c"], value=value),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    with pytest.raises(InputError, match="weights in other files are not read"):
        OnnxNetwork(save(tmp_path / "n.onnx", nodes, {}))
