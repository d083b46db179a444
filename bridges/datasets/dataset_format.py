"""The files of an image dataset folder: names, JSON, and reading of the metadata."""

import csv
import io
import json
import os
import pathlib
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hyperface_jax import InputError, files

FORMAT_VERSION = 1
DESCRIPTION = "dataset.json"
METADATA = "metadata.jsonl"
METADATA_TABLE = "metadata.csv"
JOURNAL = "journal.jsonl"
_NUMBER = re.compile("0|[1-9][0-9]{0,17}")
_NEEDED = (
    ("file_name", str, "a name"),
    ("identity", int | str, "a whole number or a name"),
)


def compared_settings(description: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a ``dataset.json`` in which two runs must agree."""
    settings = description.get("settings")
    return {
        "kind": description.get("kind"),
        **(settings if isinstance(settings, Mapping) else {}),
    }


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
    return parse_metadata(_text_of(path), path)


def parse_metadata(text: str, path: pathlib.Path | str) -> list[dict[str, Any]]:
    """The records of the text of a ``metadata.jsonl``.

    Args:
      text: of the file.
      path: of the file, for messages.

    Raises:
      InputError: as :func:`read_metadata`.
    """
    numbered = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            numbered.append((number, json.loads(line)))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: line {number} is not JSON ({error})") from None
    return _checked(numbered, path)


def identities_in(records: Sequence[dict[str, Any]]) -> list[int | str]:
    """Who each record is of: where a dataset was converted, numbers have names."""
    names = [record.get("identity_name") for record in records]
    if names and all(isinstance(name, str) and name for name in names):
        return names
    return [record["identity"] for record in records]


def read_metadata_table(path: pathlib.Path) -> list[dict[str, Any]]:
    """Reads ``metadata.csv``: a line per image, with a header.

    Args:
      path: of the file. Its columns are ``file_name``, and ``identity`` or ``label``;
        others are kept as text. Identities become numbers where all of them are.

    Raises:
      InputError: as :func:`read_metadata`.
    """
    try:
        # Quoted values may hold line breaks.
        rows = list(csv.reader(io.StringIO(_text_of(path)), strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: not a table ({error})") from None
    header = rows[0] if rows else []
    who = next((name for name in ("identity", "label") if name in header), None)
    if "file_name" not in header or who is None or len(set(header)) < len(header):
        raise InputError(
            f"{path}: its first line is {','.join(header)[:80]!r}, expected different "
            "columns, of them file_name, and identity or label; or "
            "--identity_from=top, last or path to go by the names of folders"
        )
    numbered = []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) not in (0, len(header)):
            raise InputError(
                f"{path}: row {number} has {len(row)} values, the first {len(header)}"
            )
        if row:
            record = dict(zip(header, row, strict=True))
            record["identity"] = record.pop(who)
            numbered.append((number, record))
    who = as_identities([record["identity"] for _, record in numbered])
    for (_, record), identity in zip(numbered, who, strict=True):
        record["identity"] = identity
    return _checked(numbered, path)


def as_identities(names: Sequence[str]) -> list[int | str]:
    """The names, or numbers where all of them are: then they were numbers."""
    if all(_NUMBER.fullmatch(name) for name in names):
        return [int(name) for name in names]
    return list(names)


def _text_of(path: pathlib.Path) -> str:
    if files.is_stream(path):
        raise InputError(f"{path}: a device or a pipe, expected a file")
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: missing; the dataset was damaged") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, expected a file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text ({error})") from None


def _checked(
    numbered: Sequence[tuple[int, Any]], path: pathlib.Path | str
) -> list[dict[str, Any]]:
    """The records, which are checked; each comes with the number of its line."""
    records, line_of = [], {}
    for number, record in numbered:
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
