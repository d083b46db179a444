"""The embedding file: unit embeddings, their labels and where they came from."""

import json
import os
import tokenize
import zipfile
import zlib
from typing import Any, NamedTuple

import numpy as np

from hyperface_jax import files
from hyperface_jax._version import __version__
from hyperface_jax.commands import InputError, provenance

FORMAT_VERSION = 1
KINDS = ("gallery", "references", "queries")
# float32 rows normalised by any library are within a few 1e-7 of length 1; 1e-3 lets
# rows pass that went through float16, and no row somebody forgot to normalise.
NORM_TOLERANCE = 1e-3
# Rows taken at once where a copy of all could be too much: 128 MB at 512 dimensions.
ROWS_AT_ONCE = 65_536
_GROUP = "group_"
# What NumPy and zipfile raise at damaged bytes, by where the damage is; a RuntimeError
# where they seem to be encrypted, or compressed in a way nobody knows.
UNREADABLE = (
    EOFError,
    RuntimeError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
)


class About(NamedTuple):
    """What an embedding file says of its rows; see :class:`EmbeddingFile`."""

    labels: np.ndarray | None
    names: np.ndarray | None
    metadata: dict[str, Any]
    groups: dict[str, np.ndarray]


class EmbeddingFile(NamedTuple):
    """What an embedding file holds.

    Attributes:
      embeddings: ``[n, d]`` float32, unit rows.
      labels: ``[n]`` int64, the identity of each row, or None.
      names: ``[n]`` str, where each row came from (a file name, say), or None.
      metadata: ``format_version``, ``kind``, ``model`` (``name``, ``sha256``),
        ``created_with`` and, for references, the record ``packing``.
      groups: what each row belongs to, by attribute: ``[n]`` str each, such as
        ``groups["gender"]``; stored as ``group_gender``.
    """

    embeddings: np.ndarray
    labels: np.ndarray | None
    names: np.ndarray | None
    metadata: dict[str, Any]
    groups: dict[str, np.ndarray]


def save_embeddings(
    path: str | os.PathLike[str],
    embeddings: np.ndarray,
    *,
    kind: str,
    labels: np.ndarray | None = None,
    names: np.ndarray | None = None,
    groups: dict[str, np.ndarray] | None = None,
    model: dict[str, str] | None = None,
    packing: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Writes an embedding file (``.npz``), whole or not at all.

    Args:
      path: the file to write.
      embeddings: ``[n, d]`` unit rows.
      kind: ``"gallery"``, ``"references"`` or ``"queries"``.
      labels: ``[n]`` integers, the identity of each row.
      names: ``[n]`` strings.
      groups: ``[n]`` strings for each attribute, see :class:`EmbeddingFile`.
      model: ``{"name": …, "sha256": …}`` of the recogniser the embeddings live in.
      packing: for references, the packing record.
      settings: the settings of the run that made them.

    Raises:
      InputError: the rows are not unit, not finite, or the shapes disagree.
    """
    embeddings = np.ascontiguousarray(embeddings, np.float32)
    check_embeddings(embeddings, os.fspath(path))
    if kind not in KINDS:
        raise InputError(f"{path}: kind {kind!r} is not one of {', '.join(KINDS)}")
    arrays = {"embeddings": embeddings}
    if labels is not None:
        arrays["labels"] = np.asarray(labels, np.int64)
    if names is not None:
        arrays["names"] = np.asarray(names, np.str_)
    for attribute, values in (groups or {}).items():
        arrays[_GROUP + attribute] = np.asarray(values, np.str_)
    for key, array in arrays.items():
        if len(array) != len(embeddings):
            raise InputError(
                f"{path}: {key} has {len(array)} entries, expected {len(embeddings)}, "
                "one for each embedding"
            )
    record: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "model": model,
        "created_with": {"version": __version__, **provenance(settings)},
    }
    if packing is not None:
        record["packing"] = packing
    arrays["metadata"] = np.asarray(json.dumps(record))
    with files.atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def load_embeddings(
    path: str | os.PathLike[str],
    *,
    kind: str | None = None,
    model: dict[str, str] | None = None,
) -> EmbeddingFile:
    """Reads and checks an embedding file; never unpickles.

    Args:
      path: the file to read.
      kind: refuse another kind than this.
      model: refuse embeddings of another recogniser than this (by ``sha256``).

    Returns:
      The checked content.

    Raises:
      InputError: no such file, not an ``.npz``, a missing key, a wrong rank or dtype,
        non-finite, zero or non-unit rows, another kind or another model. The message
        names the file, the row and the remedy.
    """
    name = os.fspath(path)
    arrays = _read_arrays(name)
    if "embeddings" not in arrays:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise InputError(
            f"{name}: no key 'embeddings' (found {found}); "
            "write embedding files with hyperface_jax.save_embeddings"
        )
    embeddings = arrays["embeddings"]
    check_embeddings(embeddings, name)
    embeddings = np.ascontiguousarray(embeddings, np.float32)
    about = _about(arrays, len(embeddings), name)
    found = about.metadata.get("kind")
    if kind is not None and found not in (None, kind):
        raise InputError(
            f"{name}: holds {found}, expected {kind}; "
            "check that the right file was given to the right flag"
        )
    check_model(about.metadata.get("model"), model, name)
    return EmbeddingFile(embeddings, *about)


def load_about(path: str | os.PathLike[str], rows: int) -> About:
    """Reads what an embedding file says of its rows, and leaves the rows unread.

    Args:
      path: the file to read.
      rows: how many there are.

    Raises:
      InputError: as :func:`load_embeddings`.
    """
    name = os.fspath(path)
    return _about(_read_arrays(name, leave_out="embeddings"), rows, name)


def check_embeddings(embeddings: np.ndarray, name: str) -> None:
    """Raises InputError unless ``embeddings`` is ``[n, d]``, finite, with unit rows.

    Args:
      embeddings: the array.
      name: what to call it in the message: a file name or an argument's name.
    """
    if embeddings.ndim != 2:
        raise InputError(
            f"{name}: embeddings have shape {embeddings.shape}, expected [n, d]"
        )
    if not np.issubdtype(embeddings.dtype, np.floating):
        raise InputError(
            f"{name}: embeddings are {embeddings.dtype}, expected float32; "
            "convert with embeddings.astype('float32')"
        )
    if 0 in embeddings.shape:
        raise InputError(f"{name}: embeddings are empty, shape {embeddings.shape}")
    norms = np.empty(len(embeddings), np.float32)
    with np.errstate(over="ignore"):  # a value beyond float32 is refused below
        for first in range(0, len(embeddings), ROWS_AT_ONCE):
            some = slice(first, first + ROWS_AT_ONCE)
            piece = embeddings[some].astype(np.float32, copy=False)
            norms[some] = np.linalg.norm(piece, axis=1)
    for bad, what, remedy in (
        (~np.isfinite(norms), "is not finite", "find out which image gave it, drop it"),
        (norms == 0, "is zero", "drop it: a zero vector has no direction"),
        (
            np.abs(norms - 1) > NORM_TOLERANCE,
            "is not of unit length",
            "divide each row by its norm",
        ),
    ):
        rows = np.flatnonzero(bad)
        if len(rows):
            more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
            raise InputError(
                f"{name}: row {rows[0]} {what}, its norm is {norms[rows[0]]:.6g}"
                f"{more}; {remedy}"
            )


def check_model(
    found: dict[str, str] | None, needed: dict[str, str] | None, name: str
) -> None:
    """Raises InputError when both models are known and differ (by ``sha256``).

    Args:
      found: the model recorded in the file, or None.
      needed: the model the caller works with, or None.
      name: what to call the file in the message.
    """
    if not found or not needed or found.get("sha256") == needed.get("sha256"):
        return
    raise InputError(
        f"{name}: embeddings of model {found.get('name')} "
        f"({str(found.get('sha256'))[:12]}…), needed {needed.get('name')} "
        f"({str(needed.get('sha256'))[:12]}…); embeddings of two recognisers can't be "
        "mixed: embed the images again with hyperface-embed"
    )


def _about(arrays: dict[str, np.ndarray], rows: int, name: str) -> About:
    labels = _per_row(arrays, "labels", np.integer, rows, name)
    names = _per_row(arrays, "names", np.str_, rows, name)
    groups = {
        key.removeprefix(_GROUP): _per_row(arrays, key, np.str_, rows, name)
        for key in sorted(arrays)
        if key.startswith(_GROUP)
    }
    if labels is not None:
        labels = labels.astype(np.int64)
    return About(labels, names, _read_metadata(arrays, name), groups)


def _read_arrays(name: str, leave_out: str | None = None) -> dict[str, np.ndarray]:
    try:
        content = np.load(name, allow_pickle=False)
        if isinstance(content, np.ndarray):
            raise InputError(f"{name}: a bare .npy array; expected an .npz file")
        with content:
            return {key: content[key] for key in content.files if key != leave_out}
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{name}: is a folder, expected an .npz file") from None
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(
            f"{name}: not a readable .npz file ({error}); it is truncated, or of "
            "another format, or holds pickled objects, which are never loaded"
        ) from None


def _per_row(
    arrays: dict[str, np.ndarray], key: str, kind: type, rows: int, name: str
) -> np.ndarray | None:
    if key not in arrays:
        return None
    array = arrays[key]
    if array.shape != (rows,) or not np.issubdtype(array.dtype, kind):
        raise InputError(
            f"{name}: {key} is {array.dtype} {array.shape}, expected "
            f"{kind.__name__} ({rows},), one for each embedding"
        )
    return array


def _read_metadata(arrays: dict[str, np.ndarray], name: str) -> dict[str, Any]:
    """The metadata record; files of other programs have none, and that is fine."""
    if "metadata" not in arrays:
        return {}
    try:
        record = json.loads(str(arrays["metadata"]))
    except json.JSONDecodeError as error:
        raise InputError(f"{name}: metadata is not JSON ({error})") from None
    if not isinstance(record, dict):
        raise InputError(f"{name}: metadata is {record!r}, expected a JSON object")
    version = record.get("format_version", FORMAT_VERSION)
    if not isinstance(version, int):
        raise InputError(f"{name}: format_version {version!r} is not a whole number")
    if not isinstance(record.get("model"), dict | None):
        raise InputError(f"{name}: model {record['model']!r} is not a JSON object")
    if version > FORMAT_VERSION:
        raise InputError(
            f"{name}: format version {version}, this program reads up to "
            f"{FORMAT_VERSION}; update hyperface_jax"
        )
    return record
