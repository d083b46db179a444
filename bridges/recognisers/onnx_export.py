"""A recogniser of torch as one ONNX file, checked against onnxruntime.

The file takes float32 ``[n, 3, s, s]`` for any n, RGB whatever the network takes, and
gives ``[n, d]``. Its scaling, if it has one, is a subtraction and a multiplication
named ``Sub`` and ``Mul`` at its beginning: where insightface finds both, it gives 0 to
255. What else one has to know of it is in its ``doc_string`` and ``metadata_props``.

torch's older exporter traces the network, and needs no package beside onnx. The newer
one takes onnxscript, twice the time, and writes paths of this machine into the file.
"""

import dataclasses
import io
import json
import os
import pathlib
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from bridges import pretrained
from bridges.onnx_network import REMEDY
from bridges.recognisers.export_config import ExportConfig
from bridges.recognisers.network import NetworkRecogniser
from bridges.recognisers.onnx_file import SUFFIX, load_onnx, open_session
from bridges.recognisers.recogniser import load_recogniser
from hyperface_jax import InputError, __version__, files
from hyperface_jax.artifacts import Output, check_same_settings

PathLike = str | os.PathLike[str]

INPUT, OUTPUT = "input", "embedding"
# Largest difference from torch in a unit row; 1e-6 is usual.
TOLERANCE = 1e-4
# Of the record in the file's metadata; it is JSON.
_KEY = "hyperface_jax"
_SHIPPED_LICENCE = "Apache-2.0"
_LICENCE = "that of the weights and of the images that they were trained on"
# Images that are embedded to compare, in batches of two sizes.
_COMPARED, _FIRST_BATCH = 5, 1


class Exported(NamedTuple):
    """What a file holds.

    Attributes:
      path: of the file.
      record: what the file says of itself: ``model`` with ``name`` and ``sha256``,
        ``image_size``, ``embedding_size``, the settings, ``channels``, ``range``,
        ``licence``, ``largest_difference`` from torch, ``created_with``.
    """

    path: pathlib.Path
    record: dict[str, Any]


def export_recogniser(
    checkpoint: PathLike, output: PathLike, config: ExportConfig | None = None
) -> Exported:
    """Writes a recogniser as an ONNX file; one of the same settings is left as it is.

    Args:
      checkpoint: a folder of ``train_recogniser``, ``"recogniser_f"``, or a file
        ``.pth`` or ``.ckpt`` of insightface, AdaFace or HyperFace.
      output: the file to write, ending in ``.onnx``.
      config: what it is to take and to give.

    Raises:
      InputError: no recogniser there, or none that is a network of torch; an output
        that belongs to other settings; or embeddings that differ from torch's, in
        which case nothing is written.
    """
    config = config or ExportConfig()
    path = pathlib.Path(files.path_of(output))
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"{path}: the name of an exported recogniser ends in {SUFFIX}")
    files.check_output(path)
    _require_onnx(path)
    recogniser = load_recogniser(checkpoint, device="cpu")
    if not isinstance(recogniser, NetworkRecogniser) or not recogniser.pixels.scaled:
        raise InputError(
            f"{recogniser.model['name']}: can't be exported, it runs as it was "
            "published; give a folder of hyperface-train, or a file .pth or .ckpt"
        )
    settings = _settings(checkpoint, recogniser, config)
    return Output(path, lambda: _read_same(path, settings)).make(
        lambda: _write(path, recogniser, config, settings)
    )


class _ExportedNetwork(torch.nn.Module):
    """A network, and what is around it in the file."""

    def __init__(self, recogniser: NetworkRecogniser, config: ExportConfig) -> None:
        super().__init__()
        # Recognisers keep theirs channels-last, which would be written as it is.
        self.network = recogniser.network.to(memory_format=torch.contiguous_format)
        self._bgr = recogniser.pixels.bgr
        self._size = recogniser.embedding_size
        self._config = config

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self._config.input == "pixels":
            x = (x - 127.5) * (1 / 127.5)
        if self._bgr:
            x = x.flip(1)
        if self._config.flip:
            both = self.network(torch.cat([x, x.flip(3)]))
            out = both.reshape(2, -1, self._size).sum(0)
        else:
            out = self.network(x)
        return functional.normalize(out, dim=1) if self._config.normalise else out


def _settings(
    checkpoint: PathLike, recogniser: NetworkRecogniser, config: ExportConfig
) -> dict[str, Any]:
    """All that the file depends on, JSON-ready."""
    ships = pretrained.find(checkpoint).parent == pretrained.FOLDER
    licence = _SHIPPED_LICENCE if ships else _LICENCE
    return {
        "model": recogniser.model,
        "image_size": recogniser.image_size,
        "embedding_size": recogniser.embedding_size,
        **dataclasses.asdict(config),
        "licence": config.licence or licence,
    }


def _write(
    path: pathlib.Path,
    recogniser: NetworkRecogniser,
    config: ExportConfig,
    settings: dict[str, Any],
) -> Exported:
    model = _tidied(_traced(recogniser, config), recogniser.embedding_size)
    record = {
        **settings,
        "channels": "RGB",
        "range": [-1, 1] if config.input == "scaled" else [0, 255],
        "created_with": {"hyperface_jax": __version__, "torch": torch.__version__},
    }
    with files.atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
        record["largest_difference"] = _compared(temporary, path, recogniser, config)
        _describe(model, record)
        temporary.write_bytes(model.SerializeToString())
        # As whoever is given the file will: by its name alone.
        load_onnx(temporary, recogniser.device)
    return Exported(path, record)


def _traced(recogniser: NetworkRecogniser, config: ExportConfig) -> Any:
    """The network as an ``onnx.ModelProto``."""
    import onnx

    example = torch.zeros(2, 3, recogniser.image_size, recogniser.image_size)
    content = io.BytesIO()
    with warnings.catch_warnings():
        # That there is a newer exporter.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _ExportedNetwork(recogniser, config).eval(),
            (example,),
            content,
            dynamo=False,
            opset_version=config.opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "n"}, OUTPUT: {0: "n"}},
        )
    return onnx.load_model_from_string(content.getvalue())


def _tidied(model: Any, embedding_size: int) -> Any:
    """The model with names that insightface looks for, and no copies of weights."""
    graph = model.graph
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = embedding_size
    weights = {each.name for each in graph.initializer}
    # Weights of equal values are stored once, and copied before the first layer.
    copies = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "Identity" and node.input[0] in weights
    }
    kept = [node for node in graph.node if node.output[0] not in copies]
    for node in kept:
        node.name = node.name.lstrip("/")
        node.input[:] = [copies.get(name, name) for name in node.input]
    del graph.node[:]
    graph.node.extend(kept)
    return model


def _describe(model: Any, record: dict[str, Any]) -> None:
    """Writes the record into the model, for programs and for people."""
    import onnx

    model.producer_name, model.producer_version = "hyperface_jax", __version__
    model.doc_string = f"{summary(record)}. Licence: {record['licence']}"
    onnx.helper.set_model_props(model, {_KEY: json.dumps(record)})
    onnx.checker.check_model(model)


def summary(record: dict[str, Any]) -> str:
    """What a file takes and gives, in words; of :attr:`Exported.record`."""
    size, (low, high) = record["image_size"], record["range"]
    given = "unit rows" if record["normalise"] else "features"
    mirrored = ", of image and mirror image" if record["flip"] else ""
    return (
        f"{record['model']['name']}, opset {record['opset']}: "
        f"{record['channels']} [n, 3, {size}, {size}] from {low} to {high} to {given} "
        f"[n, {record['embedding_size']}]{mirrored}"
    )


def _compared(
    written: pathlib.Path,
    path: pathlib.Path,
    recogniser: NetworkRecogniser,
    config: ExportConfig,
) -> float:
    """The largest difference between unit rows of onnxruntime and of torch.

    Raises:
      InputError: more than :data:`TOLERANCE`, or no numbers.
    """
    size = recogniser.image_size
    shape = (_COMPARED, size, size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    x = images.transpose(0, 3, 1, 2).astype(np.float32)
    x = x if config.input == "pixels" else (x - 127.5) / 127.5
    session = open_session(written, recogniser.device)
    parts = (x[:_FIRST_BATCH], x[_FIRST_BATCH:])
    found = np.concatenate([session.run(None, {INPUT: part})[0] for part in parts])
    expected = recogniser.embed(images, flip=config.flip)
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = found / np.linalg.norm(found, axis=1, keepdims=True)
    difference = float(np.abs(rows - expected).max())
    if not difference <= TOLERANCE:
        raise InputError(
            f"{path}: not written, onnxruntime's embeddings differ from torch's by "
            f"{difference:.2g}, more than {TOLERANCE:g}; try another --opset"
        )
    return difference


def _require_onnx(path: pathlib.Path) -> None:
    try:
        import onnx
        import onnxruntime
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path}: writing it takes {error.name}; run {REMEDY}"
        ) from None
    del onnx, onnxruntime


def read_record(path: PathLike) -> dict[str, Any] | None:
    """What an exported file says of itself; None for any other file."""
    import onnx

    try:
        model = onnx.load(os.fspath(path), load_external_data=False)
        properties = {each.key: each.value for each in model.metadata_props}
        record = json.loads(properties.get(_KEY, "null"))
    except OSError:
        raise
    except Exception:  # What protobuf raises has no common class.
        return None
    return record if isinstance(record, dict) else None


def _read_same(path: pathlib.Path, settings: dict[str, Any]) -> Exported | None:
    """The file already there, or None; refuses one of other settings."""
    if not files.was_written(path):
        return None
    record = read_record(path)
    if record is None:
        raise InputError(f"{path}: exists and is no export of ours; give another file")
    found = {key: record.get(key) for key in settings}
    check_same_settings(path, found, settings)
    return Exported(path, record)
