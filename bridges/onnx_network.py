"""Small ONNX networks in plain torch: detectors and recognisers of faces.

Weights that were quantised in blocks of int8 become float32 once, on loading; a batch
normalisation behind a convolution or a dense layer becomes part of it; and the batch is
free, whatever the file was exported for. What the operators do is in
:mod:`bridges.onnx_operators`. Reading needs the package ``onnx`` (the extra
``photos``), running does not.
"""

import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from bridges.onnx_operators import OPERATORS, arguments_of
from hyperface_jax import InputError, files

REMEDY = "make photos, or pip install '.[photos]' where this project lies"


class Node(NamedTuple):
    """One operation of a graph.

    Attributes:
      operator: its type, a key of :data:`bridges.onnx_operators.OPERATORS`.
      inputs: names of values, empty where an optional one is left out.
      output: name of its value.
      attributes: keyword arguments of the operator.
    """

    operator: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]


class OnnxNetwork(torch.nn.Module):
    """A graph with one input, in evaluation mode.

    Attributes:
      input: the name of the input.
      outputs: the names of the outputs.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Reads a file.

        Args:
          path: an ONNX file.

        Raises:
          InputError: no ONNX file, damaged, an operator that is not known here, or
            several inputs.
        """
        super().__init__()
        graph = read_graph(pathlib.Path(files.path_of(path)))
        try:
            self._take(graph)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{path}: a damaged network, {type(error).__name__}: {error}"
            ) from None

    @torch.inference_mode()
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Runs the graph.

        Args:
          x: ``[n, channels, height, width]`` float32, for any n.

        Returns:
          The outputs by name.
        """
        values = {self.input: x}
        for node in self._nodes:
            inputs = [
                values[name] if name in values else self._constant(name)
                for name in node.inputs
            ]
            values[node.output] = OPERATORS[node.operator](*inputs, **node.attributes)
        return {name: values[name] for name in self.outputs}

    def _take(self, graph: Any) -> None:
        """Turns a graph of ``onnx`` into constants and nodes."""
        import onnx

        constants = {
            each.name: torch.from_numpy(onnx.numpy_helper.to_array(each).copy())
            for each in graph.initializer
        }
        nodes = []
        for found in graph.node:
            node = _node_of(found)
            if found.op_type == "Constant":
                value = onnx.numpy_helper.to_array(node.attributes["value"])
                constants[node.output] = torch.from_numpy(value.copy())
            elif all(name in constants for name in node.inputs):
                # Of weights alone: once and for all.
                constants[node.output] = OPERATORS[node.operator](
                    *(constants[name] for name in node.inputs), **node.attributes
                )
            else:
                nodes.append(_with_free_batch(node, constants))
        # Some exporters list weights as inputs too, even those no longer in use.
        taken = {name for node in nodes for name in node.inputs} - constants.keys()
        inputs = [each.name for each in graph.input if each.name in taken]
        if len(inputs) != 1:
            raise InputError(
                f"{len(inputs)} inputs, expected one ({', '.join(inputs[:5])})"
            )
        self.input = inputs[0]
        self.outputs = [each.name for each in graph.output]
        self._nodes = _folded(nodes, constants)
        self._check(constants)

    def _check(self, constants: dict[str, torch.Tensor]) -> None:
        """Keeps the constants in use, and refuses values that nothing makes."""
        made, self._buffers_of = {self.input}, {}
        for node in self._nodes:
            for name in node.inputs:
                if name in constants and name not in self._buffers_of:
                    buffer = f"constant_{len(self._buffers_of)}"
                    self._buffers_of[name] = buffer
                    self.register_buffer(buffer, constants[name], persistent=False)
                elif name and name not in made and name not in constants:
                    raise InputError(f"{node.operator} takes {name!r}, made by nothing")
            made.add(node.output)
        if missing := [name for name in self.outputs if name not in made]:
            raise InputError(f"output {missing[0]!r} is made by nothing")

    def _constant(self, name: str) -> torch.Tensor | None:
        return getattr(self, self._buffers_of[name]) if name else None


def read_graph(path: pathlib.Path) -> Any:
    """The graph of a file, an ``onnx.GraphProto``.

    Raises:
      InputError: no ONNX file, damaged, or with weights in other files; or the package
        onnx is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise InputError(f"{path}: reading it takes onnx; run {REMEDY}") from None
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load_model_from_string(path.read_bytes()).graph
    except OSError as error:
        raise InputError(f"{path}: can't be read, {error.strerror or error}") from None
    except DecodeError:
        raise InputError(f"{path}: no ONNX file, or a damaged one") from None
    if not graph.node or not graph.output:
        raise InputError(f"{path}: no ONNX file: it holds no network")
    if any(tensor.external_data for tensor in _tensors(graph)):
        # The file names them itself, and might name any file.
        raise InputError(f"{path}: weights in other files are not read")
    return graph


def _tensors(graph: Any) -> Iterator[Any]:
    """The tensors that a graph holds, wherever."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _node_of(found: Any) -> Node:
    """A node as ours, its operator and attributes known."""
    import onnx

    attributes = {
        each.name: onnx.helper.get_attribute_value(each) for each in found.attribute
    }
    node = Node(found.op_type, list(found.input), found.output[0], attributes)
    if node.operator == "Constant":
        if set(attributes) != {"value"}:
            raise InputError("a Constant that is no tensor; not known here")
        return node
    if node.operator not in OPERATORS:
        raise InputError(f"operator {node.operator} is not known here")
    return node._replace(
        attributes=arguments_of(node.operator, len(node.inputs), attributes)
    )


def _with_free_batch(node: Node, constants: dict[str, torch.Tensor]) -> Node:
    """Lets a Reshape that was exported for one image keep the batch it is given."""
    if node.operator == "Reshape" and node.inputs[1] in constants:
        shape = constants[node.inputs[1]]
        if len(shape) and shape[0] == 1:
            name = f"{node.inputs[1]} of any batch"
            # 0 is the size that the input has, as ONNX defines it.
            constants[name] = torch.cat([shape.new_zeros(1), shape[1:]])
            return node._replace(inputs=[node.inputs[0], name])
    return node


def _folded(nodes: list[Node], constants: dict[str, torch.Tensor]) -> list[Node]:
    """Makes each batch normalisation part of the layer before it, in double precision.

    Only where nothing else takes that layer's output.
    """
    taken = [name for node in nodes for name in node.inputs]
    kept: list[Node] = []
    for node in nodes:
        layer = kept[-1] if kept else None
        if (
            layer is None
            or node.operator != "BatchNormalization"
            or layer.operator not in ("Conv", "Gemm")
            or layer.output != node.inputs[0]
            or taken.count(layer.output) != 1
            or layer.attributes.get("transB", 1) != 1
            or not set(node.inputs[1:] + layer.inputs[1:]) <= constants.keys()
        ):
            kept.append(node)
            continue
        scale, shift, mean, variance = (constants[i].double() for i in node.inputs[1:])
        scale = scale / (variance + node.attributes["epsilon"]).sqrt()
        weight = constants[layer.inputs[1]].double()
        bias = constants[layer.inputs[2]].double() if len(layer.inputs) > 2 else 0.0
        names = [f"{node.output} weight", f"{node.output} bias"]
        constants[names[0]] = (
            weight * scale.view(-1, *[1] * (weight.ndim - 1))
        ).float()
        constants[names[1]] = (shift + (bias - mean) * scale).float()
        kept[-1] = layer._replace(inputs=[layer.inputs[0], *names], output=node.output)
    return kept
