"""The verification set folder: images and the pairs to tell apart.

::

    images/…                        as in a dataset folder, metadata.jsonl beside
    pairs.csv                       first,second,same,fold[,group]

``first`` and ``second`` are paths relative to the folder, ``same`` is 1 for two images
of one person and 0 for two people, ``fold`` is 0 … 9. ``group`` is optional, on every
line or on none: a label of both people's demographic group, to report errors by.
"""

import csv
import io
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hyperface_jax import InputError, files

PAIRS = "pairs.csv"
_COLUMNS = ("first", "second", "same", "fold")


class VerificationSet(NamedTuple):
    """Pairs of images.

    Attributes:
      name: the folder's name.
      paths: the images, each once.
      pairs: ``[p, 2]`` int64, rows of ``paths``.
      same: ``[p]`` bool, whether the pair shows one person.
      fold: ``[p]`` int64, the fold of cross-validation.
      group: ``[p]`` str, or None.
    """

    name: str
    paths: list[pathlib.Path]
    pairs: np.ndarray
    same: np.ndarray
    fold: np.ndarray
    group: np.ndarray | None = None


def write_pairs(
    folder: str | os.PathLike[str], rows: Iterable[Sequence[Any]]
) -> pathlib.Path:
    """Writes ``pairs.csv``, whole or not at all.

    Args:
      folder: the verification set's folder.
      rows: ``(first, second, same, fold)`` or ``(first, second, same, fold, group)``.

    Returns:
      The file written.

    Raises:
      InputError: no rows, or rows of differing length.
    """
    path = pathlib.Path(folder) / PAIRS
    rows = [tuple(row) for row in rows]
    lengths = {len(row) for row in rows}
    if lengths not in ({4}, {5}):
        raise InputError(
            f"{path}: rows of {sorted(lengths) or 'no'} values, expected "
            "first, second, same, fold and, in all or none, group"
        )
    header = (*_COLUMNS, "group")[: lengths.pop()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for first, second, same, fold, *group in rows:
        writer.writerow([first, second, int(same), int(fold), *group])
    files.write_text(path, text.getvalue())
    return path


def load_verification_set(folder: str | os.PathLike[str]) -> VerificationSet:
    """Reads and checks the pairs of a verification set; reads no image.

    Args:
      folder: holds ``pairs.csv`` and the images it names.

    Raises:
      InputError: no such folder or file, a missing column, a bad value (named with its
        line), a missing image, or pairs of one class only.
    """
    folder = pathlib.Path(folder)
    path = folder / PAIRS
    if not path.is_file():
        raise InputError(
            f"{folder}: not a verification set, it has no {PAIRS}; "
            "make the rendered ones with hyperface-render"
        )
    try:
        rows = _read_rows(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file ({error})") from None
    names = sorted({name for row in rows for name in (row["first"], row["second"])})
    position = {name: i for i, name in enumerate(names)}
    paths = [folder / name for name in names]
    for image in paths:
        if not image.is_file():
            raise InputError(f"{path}: names {image}, which does not exist")
    same = np.array([_parse(path, row, "same") for row in rows], bool)
    fold = np.array([_parse(path, row, "fold") for row in rows], np.int64)
    if same.all() or not same.any():
        raise InputError(
            f"{path}: every pair has same = {int(same[0])}; "
            "verification needs both kinds"
        )
    return VerificationSet(
        name=folder.resolve().name,
        paths=paths,
        pairs=np.array(
            [(position[row["first"]], position[row["second"]]) for row in rows],
            np.int64,
        ),
        same=same,
        fold=fold,
        group=np.array([row["group"] for row in rows]) if "group" in rows[0] else None,
    )


def _read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [key for key in _COLUMNS if key not in (reader.fieldnames or ())]
        if missing:
            raise InputError(
                f"{path}: no column {missing[0]!r}; the first line must be "
                f"{','.join(_COLUMNS)}"
            )
        rows = []
        for row in reader:
            if None in row or None in row.values():
                raise InputError(
                    f"{path}: line {reader.line_num} has not as many values as columns"
                )
            if not row.get("group", "none").strip():
                raise InputError(
                    f"{path}: line {reader.line_num} has an empty group; give every "
                    "pair one, or leave the column out"
                )
            rows.append({**row, "line": reader.line_num})
    if not rows:
        raise InputError(f"{path}: no pairs in it")
    return rows


def _parse(path: pathlib.Path, row: dict[str, Any], key: str) -> int:
    text = row[key].strip()
    if text.isdecimal() and len(text) < 10 and (key != "same" or text in ("0", "1")):
        return int(text)
    expected = "0 or 1" if key == "same" else "a number from 0 to 10^9"
    raise InputError(
        f"{path}: line {row['line']} has {key} = {row[key]!r}, expected {expected}"
    )
