"""Files of a trained recogniser, and of an unfinished training.

::

    model.safetensors       the backbone's weights and running statistics
    config.json             what to build: backbone, image_size, embedding_size, and
                            attention and attributes where it has them
    attributes.safetensors  heads of attributes, where it was trained for them
    training.json           settings, data, history, complete
    progress.safetensors    while training: everything needed to resume
"""

import json
import os
import pathlib
from typing import Any

import safetensors
import torch
from safetensors.torch import save

from bridges import model_folder
from bridges.pretrained import CONFIG, WEIGHTS
from bridges.recognition.adaface_ir import AdaFaceIR
from bridges.recognition.backbones import build_backbone
from bridges.recognition.demographic_attention import attach_described
from bridges.recognition.iresnet import IResNet
from bridges.weights_file import UNREADABLE
from hyperface_jax import InputError, files
from hyperface_jax.artifacts import read_json

FORMAT_VERSION = 1
# Of config.json: what an earlier program can't build must not look to it as damaged.
_ATTENTION_VERSION = 2
TRAINING = "training.json"
PROGRESS = "progress.safetensors"

_CONFIG_ENTRIES = {
    "backbone": str,
    "image_size": int,
    "embedding_size": int,
    "format_version": int,
}

PathLike = str | os.PathLike[str]


def save_network(
    folder: PathLike, network: torch.nn.Module, config: dict[str, Any]
) -> None:
    """Writes a recogniser: its weights and what to build them into.

    Args:
      folder: created when missing.
      network: the backbone.
      config: ``backbone``, ``image_size``, ``embedding_size``, and ``attention`` and
        ``attributes`` of those that have them.
    """
    version = _ATTENTION_VERSION if "attention" in config else FORMAT_VERSION
    description = {"format_version": version, **config}
    model_folder.save_model(folder, network, description)


def read_config(folder: PathLike) -> dict[str, Any]:
    """Reads ``config.json`` of a recogniser.

    Raises:
      InputError: no recogniser there, an unfinished training, or not our JSON.
    """
    folder = pathlib.Path(folder)
    path = folder / CONFIG
    if not path.is_file() or not (folder / WEIGHTS).is_file():
        if (folder / TRAINING).is_file():
            raise InputError(
                f"{folder}: the training is unfinished; run the same hyperface-train "
                "command again, it goes on where it stopped"
            )
        raise InputError(
            f"{folder}: no recogniser there; expected {CONFIG} and {WEIGHTS}, "
            "as hyperface-train writes them"
        )
    config = read_json(path)
    for key, kind in _CONFIG_ENTRIES.items():
        if key not in config and key != "format_version":
            raise InputError(f"{path}: no entry {key!r}")
        value = config.get(key, FORMAT_VERSION)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(
                f"{path}: {key} is {config[key]!r}, expected "
                + ("a name" if kind is str else "a whole number")
            )
    if config.get("format_version", FORMAT_VERSION) > _ATTENTION_VERSION:
        raise InputError(
            f"{path}: format version {config['format_version']}, this program reads up "
            f"to {_ATTENTION_VERSION}; update hyperface_jax"
        )
    return config


def load_network(folder: PathLike) -> IResNet | AdaFaceIR:
    """Builds the backbone in ``folder`` and reads its weights.

    Raises:
      InputError: no recogniser there, a damaged file, or weights of another network.
    """
    folder = pathlib.Path(folder)
    config = read_config(folder)

    def build() -> IResNet | AdaFaceIR:
        backbone = build_backbone(
            config["backbone"],
            image_size=config["image_size"],
            embedding_size=config["embedding_size"],
        )
        return attach_described(backbone, config.get("attention"))

    network = model_folder.build_to_fit(folder, build)
    model_folder.load_weights(folder, network)
    return network


def save_progress(
    folder: PathLike, tensors: dict[str, torch.Tensor], record: dict[str, Any]
) -> None:
    """Writes the state of a training, whole or not at all.

    Args:
      folder: the training's output.
      tensors: state of the networks and the optimiser, by name.
      record: how far the training is, and the data that it belongs to.
    """
    metadata = {"training": json.dumps(record)}
    content = save(_contiguous(tensors), metadata)
    files.write_bytes(pathlib.Path(folder) / PROGRESS, content)


def load_progress(
    folder: PathLike,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Reads the state of an interrupted training, or None when there is none.

    Raises:
      InputError: a damaged file.
    """
    path = pathlib.Path(folder) / PROGRESS
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}
            return tensors, json.loads(file.metadata()["training"])
    except (*UNREADABLE, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: damaged ({error}); remove it to train from the start"
        ) from None


def _contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # safetensors stores row-major tensors, so channels-last weights are copied; and
    # tensors of the CPU, so that any machine reads what another one wrote.
    return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
