"""The files of an image dataset folder: names, JSON, and reading of the metadata."""

import json
import os
import pathlib
import posixpath
from typing import Any

import numpy as np

from hyperface_jax import InputError, files

FORMAT_VERSION = 1
DESCRIPTION = "dataset.json"
METADATA = "metadata.jsonl"
JOURNAL = "journal.jsonl"
_NEEDED = (
    ("file_name", str, "a name"),
    ("identity", int | str, "a whole number or a name"),
)


def to_json(value: Any) -> str:
    """JSON on one line; NumPy values and paths become plain ones.

    Raises:
      InputError: a value that JSON can't represent, such as NaN.
    """
    try:
        return json.dumps(value, default=_plain, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"JSON can't hold what is to be written: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{value!r} has no JSON form")


def read_metadata(path: pathlib.Path) -> list[dict[str, Any]]:
    """Reads ``metadata.jsonl``: a record per image.

    Raises:
      InputError: the file is missing, a line is no record with file name and identity,
        or two lines name the same image.
    """
    if files.is_stream(path):
        raise InputError(f"{path}: a device or a pipe, expected a file")
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except FileNotFoundError:
        raise InputError(f"{path}: missing; the dataset was damaged") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, expected a file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text ({error})") from None
    records, line_of = [], {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: line {number} is not JSON ({error})") from None
        for key, kind, expected in _NEEDED:
            if not isinstance(record, dict) or key not in record:
                raise InputError(
                    f"{path}: line {number} has no {key!r}; each line needs file_name "
                    "and identity, or --identity_from=top, last or path to go by the "
                    "names of folders"
                )
            # To Python a bool is an int, but it is no identity.
            plain = isinstance(record[key], kind) and not isinstance(record[key], bool)
            if not plain or record[key] == "":
                raise InputError(
                    f"{path}: line {number} has {key} = {record[key]!r}, expected "
                    f"{expected}"
                )
        if records and type(record["identity"]) is not type(records[0]["identity"]):
            raise InputError(
                f"{path}: line {number} has identity = {record['identity']!r}, the "
                f"first {records[0]['identity']!r}; give numbers for all, or names"
            )
        name = posixpath.normpath(record["file_name"])
        if name in line_of:
            raise InputError(
                f"{path}: lines {line_of[name]} and {number} both name {name}; remove "
                "one of them"
            )
        line_of[name] = number
        records.append(record)
    return records
