"""The embedding file: unit embeddings, their labels and where they came from."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hyperface_jax import files
from hyperface_jax._version import __version__
from hyperface_jax.commands import provenance
from hyperface_jax.embeddings import annotations, metadata, npz_file
from hyperface_jax.embeddings.annotations import About
from hyperface_jax.embeddings.conversion import as_array
from hyperface_jax.embeddings.metadata import FORMAT_VERSION
from hyperface_jax.embeddings.rows import check_embeddings, check_form
from hyperface_jax.errors import InputError, shown

KINDS = ("gallery", "references", "queries")


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
      identities: ``[k]`` str, what label i is called, or None where labels are numbers
        alone.
      predicted: what the recogniser read from each image, by attribute, such as
        ``predicted["yaw"]``: ``[n]`` float32 (degrees, years, probabilities) or str;
        stored as ``predicted_yaw``. None where it was not asked.
    """

    embeddings: np.ndarray
    labels: np.ndarray | None
    names: np.ndarray | None
    metadata: dict[str, Any]
    groups: dict[str, np.ndarray]
    identities: np.ndarray | None = None
    predicted: dict[str, np.ndarray] | None = None


def save_embeddings(
    path: str | os.PathLike[str],
    embeddings: Any,
    *,
    kind: str,
    labels: Any = None,
    names: Any = None,
    groups: Mapping[str, Any] | None = None,
    predicted: Mapping[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    packing: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Writes an embedding file (``.npz``), whole or not at all.

    Args:
      path: the file to write.
      embeddings: ``[n, d]`` unit rows.
      kind: ``"gallery"``, ``"references"`` or ``"queries"``.
      labels: ``[n]`` whole numbers or names, the identity of each row. Names are
        written as numbers, in rising order, with ``identities``.
      names: ``[n]`` strings.
      groups: ``[n]`` strings for each attribute, see :class:`EmbeddingFile`.
      predicted: ``[n]`` finite floats or strings for each attribute, likewise.
      model: ``{"name": …, "sha256": …}`` of the recogniser the embeddings live in.
      packing: for references, the packing record. What JSON can hold, and NumPy's
        numbers and arrays, which are converted.
      settings: the settings of the run that made them, as ``packing``.

    Raises:
      InputError: the rows are not unit, not finite, the shapes disagree, or something
        is not what it should be. Nothing has been touched then.
    """
    name = npz_file.path_of(path)
    _check_kind(kind, name)
    rows = as_array(embeddings, name)
    check_embeddings(rows, name)
    arrays = {"embeddings": np.ascontiguousarray(rows, np.float32)}
    arrays |= annotations.to_arrays(labels, names, groups, predicted, len(rows), name)
    metadata.check_model_record(model, f"{name}: model")
    for what, record in (("packing", packing), ("settings", settings)):
        metadata.check_record(record, f"{name}: {what}")
    record: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "model": metadata.json_ready(model, f"{name}: model"),
        "created_with": {
            "version": __version__,
            **provenance(metadata.json_ready(settings, f"{name}: settings")),
        },
    }
    if packing is not None:
        record["packing"] = metadata.json_ready(packing, f"{name}: packing")
    arrays["metadata"] = np.asarray(metadata.encoded(record, name))
    with files.atomic_path(name) as temporary, open(temporary, "wb") as file:
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
    name = npz_file.path_of(path)
    if kind is not None:
        _check_kind(kind, name)
    metadata.check_model_record(model, "model")
    with npz_file.open_npz(name) as content:
        _require_embeddings(content, name)
        embeddings = content.read("embeddings")
        arrays = annotations.read_arrays(content)
    check_embeddings(embeddings, name)
    embeddings = np.ascontiguousarray(embeddings, np.float32)
    about = annotations.of_arrays(arrays, len(embeddings), name)
    found = about.metadata.get("kind")
    if kind is not None and found not in (None, kind):
        raise InputError(
            f"{name}: holds {found}, expected {kind}; "
            "check that the right file was given to the right flag"
        )
    check_model(about.metadata.get("model"), model, name)
    return EmbeddingFile(embeddings, *about)


def map_embeddings(path: str | os.PathLike[str]) -> tuple[np.ndarray, About]:
    """Opens an embedding file without reading its rows, where that can be.

    Args:
      path: the file to read.

    Returns:
      The rows as they are stored, unchecked, a ``numpy.memmap``; or, where they are
      compressed or in another order, checked and in memory. And what the file says.

    Raises:
      InputError: as :func:`load_embeddings`, for whatever is not a row.
    """
    name = npz_file.path_of(path)
    with npz_file.open_npz(name) as content:
        _require_embeddings(content, name)
        header = content.header("embeddings")
        check_form(header.shape, header.dtype, name)
        arrays = annotations.read_arrays(content)
    rows = None
    if header.offset is not None and not header.fortran:
        rows = _mapped(name, header)
    if rows is None:
        embeddings, *about = load_embeddings(name)
        return embeddings, About(*about)
    return rows, annotations.of_arrays(arrays, len(rows), name)


def check_model(
    found: dict[str, str] | None, needed: dict[str, str] | None, name: str
) -> None:
    """Raises InputError when both models are known and differ (by ``sha256``).

    Args:
      found: the model recorded in the file, or None.
      needed: the model the caller works with, or None.
      name: what to call the file in the message.
    """
    metadata.check_model_record(found, f"{name}: model")
    metadata.check_model_record(needed, "the model needed")
    if found is None or needed is None or found["sha256"] == needed["sha256"]:
        return
    raise InputError(
        f"{name}: embeddings of model {found['name']} "
        f"({found['sha256'][:12]}…), needed {needed['name']} "
        f"({needed['sha256'][:12]}…); embeddings of two recognisers can't be "
        "mixed: embed the images again with hyperface-embed"
    )


def _check_kind(kind: Any, name: str) -> None:
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(f"{name}: kind {shown(kind)} is not one of {', '.join(KINDS)}")


def _require_embeddings(content: npz_file.NpzFile, name: str) -> None:
    if "embeddings" not in content.keys:
        found = ", ".join(content.keys) or "nothing"
        raise InputError(
            f"{name}: no key 'embeddings' (found {found}); "
            "write embedding files with hyperface_jax.save_embeddings"
        )


def _mapped(name: str, header: npz_file.Header) -> np.memmap | None:
    """The rows where they are stored, or None where files can't be mapped."""
    try:
        return np.memmap(name, header.dtype, "r", header.offset, header.shape)
    except (OSError, ValueError):
        return None
