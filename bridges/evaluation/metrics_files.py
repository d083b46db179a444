"""Metrics files of several recognisers, by the shortest names that tell them apart."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from bridges.evaluation.comparison import short_names
from hyperface_jax import InputError, files
from hyperface_jax.artifacts import read_json

_NAME = "metrics"


def read_metrics(
    paths: Sequence[str | os.PathLike[str]],
) -> dict[str, dict[str, Any]]:
    """Reads what hyperface-verify wrote.

    Args:
      paths: metrics files, or folders whose ``.json`` files are; at least one.

    Returns:
      The metrics by the file's name without its suffix, or that of its folder where it
      is called ``metrics.json``.

    Raises:
      InputError: none given, no such file, one twice, or one that holds no metrics.
    """
    found = [one for path in paths for one in _files(files.path_of(path))]
    if not found:
        raise InputError("no metrics files given; name what hyperface-verify wrote")
    named = [
        one.parent if one.stem == _NAME and one.parent.name else one.with_suffix("")
        for one in found
    ]
    names = short_names([os.fspath(one) for one in named], "metrics file")
    return {name: _read(path) for name, path in zip(names, found, strict=True)}


def _files(path: str) -> list[pathlib.Path]:
    if not os.path.isdir(path):
        return [pathlib.Path(path)]
    inside = sorted(pathlib.Path(path).glob("*.json"))
    if not inside:
        raise InputError(f"{path}: no .json file in it, expected metrics files")
    return inside


def _read(path: pathlib.Path) -> dict[str, Any]:
    found = read_json(path)
    sets = found.get("benchmarks")
    if not isinstance(sets, dict) or not sets or "mean_accuracy" not in found:
        raise InputError(f"{path}: holds no metrics; name what hyperface-verify wrote")
    for name, result in sets.items():
        if not {"accuracy", "confusion"} <= set(result):
            raise InputError(f"{path}: its set {name} lacks accuracy or confusion")
    return found
