"""A model on disk: ``config.json`` beside ``model.safetensors``."""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import safetensors.torch
import torch
from absl import logging

from bridges import weights_file
from bridges.generators.generator import CONFIG, WEIGHTS
from bridges.provenance import check_same_settings, read_json
from hyperface_jax import InputError, files

Config = TypeVar("Config")
Network = TypeVar("Network", bound=torch.nn.Module)


def save_model(
    folder: str | os.PathLike[str],
    module: torch.nn.Module,
    description: dict[str, Any],
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes a model; the weights come last, so a folder that has them is complete.

    A model that was there before is removed first.

    Args:
      folder: created when missing.
      module: its state is written.
      description: JSON-ready, at least ``kind``; becomes ``config.json``.
      dtype: what all of it is stored as.
    """
    folder = pathlib.Path(folder)
    weights = {
        name: value.detach().to("cpu", dtype).contiguous()
        for name, value in module.state_dict().items()
    }
    (folder / WEIGHTS).unlink(missing_ok=True)
    files.write_json(folder / CONFIG, description)
    files.write_bytes(folder / WEIGHTS, safetensors.torch.save(weights))


def is_trained(
    folder: str | os.PathLike[str], kind: str, settings: Mapping[str, Any]
) -> bool:
    """Whether a finished model of these settings is in ``folder``.

    Raises:
      InputError: one of other settings, or of another kind.
    """
    path = pathlib.Path(folder) / CONFIG
    if not (path.parent / WEIGHTS).exists():
        return False
    # Models of an earlier version don't record their settings.
    found = read_description(folder, kind).get("settings", settings)
    check_same_settings(path, found, settings)
    logging.info("%s is trained already", folder)
    return True


def digest_of(folder: str | os.PathLike[str] | None) -> str | None:
    """SHA-256 of the weights in ``folder``; None for no folder.

    Raises:
      InputError: no weights there.
    """
    if folder is None:
        return None
    path = pathlib.Path(folder) / WEIGHTS
    if not path.is_file():
        raise InputError(f"{path}: not there; expected the folder of a finished model")
    return files.sha256_of(path)


def read_description(folder: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """Reads ``config.json`` of a finished model of one kind.

    Raises:
      InputError: no such model, an unfinished one, or one of another kind.
    """
    folder = pathlib.Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder}: no {name} in it; expected the folder of a finished {kind}"
            )
    description = read_json(folder / CONFIG)
    found = description.get("kind")
    if found is None:
        raise InputError(f"{folder / CONFIG}: describes no model; expected a {kind}")
    if found != kind:
        raise InputError(f"{folder}: holds the model kind {found!r}, expected {kind!r}")
    return description


def build_config(
    folder: str | os.PathLike[str],
    description: dict[str, Any],
    key: str,
    config_class: type[Config],
) -> Config:
    """The shape of a network that a description gives under ``key``.

    Raises:
      InputError: no such entry, or one of another program.
    """
    path = pathlib.Path(folder) / CONFIG
    try:
        given = dict(description[key])
        for name, value in given.items():
            sizes = value if isinstance(value, list) else [value]
            if not all(isinstance(size, int) and 0 < size < 2**20 for size in sizes):
                raise ValueError(f"{name} is {value!r}, expected sizes")
        return config_class(**given)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: no usable entry {key!r} ({error})") from None


def read_shape(
    folder: str | os.PathLike[str], kind: str, config_class: type[Config]
) -> Config:
    """The shape of the network in the folder of a finished model.

    Raises:
      InputError: no such model, or one that doesn't say.
    """
    return build_config(folder, read_description(folder, kind), "config", config_class)


def build_to_fit(
    folder: str | os.PathLike[str], build: Callable[[], Network]
) -> Network:
    """Builds the network that a model folder describes; its weights are yet to load.

    Raises:
      InputError: a configuration of no network, or weights of another one.
    """
    folder = pathlib.Path(folder)
    return weights_file.build_to_fit(folder / WEIGHTS, folder / CONFIG, build)


def load_weights(folder: str | os.PathLike[str], module: torch.nn.Module) -> None:
    """Loads the weights of ``folder`` into ``module``, as float32.

    Raises:
      InputError: a damaged file, or weights of another architecture.
    """
    path = pathlib.Path(folder) / WEIGHTS
    weights = weights_file.read_weights(path)
    try:
        module.load_state_dict({name: value.float() for name, value in weights.items()})
    except RuntimeError as error:
        line = str(error).splitlines()[0]
        raise InputError(
            f"{path}: can't be loaded ({line}); the file belongs to another config.json"
        ) from None
