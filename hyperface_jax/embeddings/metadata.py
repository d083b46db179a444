"""The metadata of an embedding file: what JSON can hold, and what readers rely on."""

import json
import math
from typing import Any

import numpy as np

from hyperface_jax.errors import InputError, reason_of, shown

FORMAT_VERSION = 1
_DEEPEST = 100


def json_ready(value: Any, name: str, depth: int = 0) -> Any:
    """``value`` as JSON can hold it: NumPy's numbers and arrays become Python's.

    Args:
      value: dictionaries, lists, strings, numbers, and so on within each other.
      name: what to call it in a message.
      depth: how deep within another value.

    Raises:
      InputError: what JSON has no word for, such as NaN, or a key that is no string.
    """
    if depth > _DEEPEST:
        raise InputError(f"{name} is nested too deeply for JSON")
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise InputError(f"{name}: the key {shown(key)} is not a string")
        return {
            key: json_ready(item, f"{name}[{key!r}]", depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [
            json_ready(item, f"{name}[{i}]", depth + 1) for i, item in enumerate(value)
        ]
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise InputError(f"{name} is {shown(value)}, which JSON can't hold; leave it out")


def check_record(value: Any, name: str) -> None:
    """Raises InputError unless ``value`` is a dictionary or None."""
    if not isinstance(value, dict | None):
        raise InputError(f"{name} is {shown(value)}, expected a dictionary")


def check_model_record(model: Any, name: str) -> None:
    """Raises InputError unless ``model`` says which recogniser it is, or is None."""
    if model is None:
        return
    if not isinstance(model, dict):
        raise InputError(f"{name} {shown(model)} is not a JSON object")
    for key in ("name", "sha256"):
        if not isinstance(model.get(key), str) or not model[key]:
            raise InputError(
                f"{name} {shown(model)} has no {key}; expected "
                '{"name": …, "sha256": …} of the recogniser'
            )


def encoded(record: dict[str, Any], name: str) -> str:
    """``record``, which is JSON-ready, as text."""
    try:
        return json.dumps(record, allow_nan=False)
    except (ValueError, RecursionError) as error:  # A number of thousands of digits.
        raise InputError(
            f"{name}: JSON can't hold the metadata ({reason_of(error)})"
        ) from None


def decoded(array: np.ndarray | None, name: str) -> dict[str, Any]:
    """The metadata record; files of other programs have none, and that is fine.

    Args:
      array: the key ``metadata``, or None.
      name: of the file.

    Raises:
      InputError: it isn't JSON, or not what it should be.
    """
    if array is None:
        return {}
    if array.shape != () or array.dtype.kind != "U":
        raise InputError(
            f"{name}: metadata is {array.dtype} {array.shape}, expected one text"
        )
    try:
        record = json.loads(str(array))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: metadata is not JSON ({reason_of(error)})") from None
    if not isinstance(record, dict):
        raise InputError(f"{name}: metadata is {shown(record)}, expected a JSON object")
    version = record.get("format_version", FORMAT_VERSION)
    if isinstance(version, bool) or not isinstance(version, int):
        raise InputError(
            f"{name}: format_version {shown(version)} is not a whole number"
        )
    if version > FORMAT_VERSION:
        raise InputError(
            f"{name}: format version {version}, this program reads up to "
            f"{FORMAT_VERSION}; update hyperface_jax"
        )
    if not isinstance(record.get("kind"), str | None):
        raise InputError(f"{name}: kind {shown(record['kind'])} is not a string")
    check_model_record(record.get("model"), f"{name}: model")
    for key in ("created_with", "packing"):
        check_record(record.get(key), f"{name}: {key}")
    return record
