"""The tables beside converted images: who a label is, and what is known of each image.

::

    labels.csv       label,identity,images: a line a label, with how many it has
    records.jsonl    a line an image, in order: what the source knew of it

Formats keep a number for who is on an image, and some nothing else.
"""

import collections
import csv
import io
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from bridges.datasets.dataset_format import as_identities, to_json
from bridges.datasets.folder_listing import LABELS, RECORDS
from bridges.datasets.image_source import ImageSource
from hyperface_jax import InputError, files

_HEADER = ["label", "identity", "images"]


def label_table(source: ImageSource) -> str:
    """The text of ``labels.csv`` for a source."""
    counts = collections.Counter(source.labels.tolist())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    for label, identity in enumerate(source.identities):
        writer.writerow([label, identity, counts[label]])
    return text.getvalue()


def record_line(record: dict[str, Any]) -> str:
    """A line of ``records.jsonl``."""
    return to_json(record) + "\n"


def read_label_table(
    folder: pathlib.Path, who: Sequence[int | str]
) -> list[int | str] | None:
    """Names of the labels, in rising order of those that occur.

    Args:
      folder: where ``labels.csv`` may be.
      who: the label of each image.

    Returns:
      None where there is no table, or one of another making.

    Raises:
      InputError: the table belongs to other images.
    """
    path = folder / LABELS
    rows = _rows(path)
    if rows is None:
        return None
    found = collections.Counter(who)
    names = {}
    for number, row in enumerate(rows, start=2):
        try:
            label, name, count = int(row[0]), row[1], int(row[2])
        except (ValueError, IndexError):
            raise InputError(
                f"{path}: line {number} is not label,identity,images; mend it, or "
                "remove the file to read the numbers alone"
            ) from None
        if found[label] != count or label in names:
            raise InputError(
                f"{path}: says that label {label} has {count:,} images, there are "
                f"{found[label]:,}; it belongs to other images, remove or replace it"
            )
        names[label] = name
    if missing := sorted(set(found) - set(names), key=str):
        raise InputError(
            f"{path}: lacks label {missing[0]}; it belongs to other images, remove or "
            "replace it"
        )
    if len(set(names.values())) < len(names):
        raise InputError(f"{path}: two labels have the same identity; mend it")
    ordered = [names[label] for label in sorted(found)]
    return as_identities(ordered)


def read_records(
    folder: pathlib.Path, records: Sequence[dict[str, Any]]
) -> list[dict[str, Any]] | None:
    """What ``records.jsonl`` says of the images.

    Args:
      folder: where it may be.
      records: what the format itself says; as many.

    Returns:
      A dictionary an image, or None where there is no such file.

    Raises:
      InputError: it is damaged or of other images.
    """
    path = folder / RECORDS
    if not path.is_file():
        return None
    found = []
    try:
        for line in path.read_text("utf-8").split("\n"):
            if line:
                found.append(json.loads(line))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: line {len(found) + 1}: {error}; mend it") from None
    for number, record in enumerate(found, start=1):
        named = isinstance(record, dict) and isinstance(record.get("file_name"), str)
        if not named:
            raise InputError(f"{path}: line {number} has no file_name; mend it")
    if len(found) != len(records):
        raise InputError(
            f"{path}: {len(found):,} lines, but there are {len(records):,} images; it "
            "belongs to others, remove or replace it"
        )
    return found


def _rows(path: pathlib.Path) -> list[list[str]] | None:
    """The lines below the header; None where it is no table of ours."""
    if not path.is_file() or files.is_stream(path):
        return None
    # Names of folders, and so of people, need not be UTF-8, and may hold line breaks.
    text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: not a table ({error}); mend it") from None
    return rows[1:] if rows[:1] == [_HEADER] else None
