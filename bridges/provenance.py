"""What a stage left behind: JSON, and the settings that it was made with."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from hyperface_jax import InputError

# Longer values are digests, which say nothing to a reader.
_READABLE = 40


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
      InputError: a folder, not JSON, or no object.
    """
    try:
        value = json.loads(pathlib.Path(path).read_text("utf-8-sig"))
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, expected a JSON file") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds {type(value).__name__}, expected an object")
    return value


def check_same_settings(
    place: str | os.PathLike[str], found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    """Checks that what is in ``place`` was made with the settings asked for now.

    Raises:
      InputError: it was not; names the first setting that differs.
    """
    for key in sorted({*found, *wanted}):
        old, new = found.get(key), wanted.get(key)
        if old == new:
            continue
        if key not in found or key not in wanted:
            difference = f"made with other settings ({key})"
        elif _readable(old) and _readable(new):
            difference = f"made with {key} = {old!r}, asked for {new!r}"
        else:
            difference = f"made with other {key}"
        raise InputError(
            f"{place}: {difference}; give another output or remove this one"
        )


def _readable(value: Any) -> bool:
    return not isinstance(value, Mapping) and len(repr(value)) <= _READABLE
