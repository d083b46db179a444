"""Checkpoint files of a descent, from which it resumes to the same bits."""

import hashlib
import json
import os
from typing import Any, NamedTuple

import jax
import numpy as np

from hyperface_jax import files
from hyperface_jax.embeddings import npz_file
from hyperface_jax.errors import InputError, shown

_FORMAT_VERSION = 1


class Checkpoint(NamedTuple):
    """What a checkpoint holds.

    Attributes:
      iteration: how many iterations are done.
      seconds: how long they took, over all runs.
      state: the solver's state, a pytree of arrays; NumPy's when read, so that each
        device can be sent its share alone.
      history: ``[iteration, terms]`` float32, the terms of the objective so far.
    """

    iteration: int
    seconds: float
    state: Any
    history: np.ndarray


def fingerprint(settings: dict[str, Any], *arrays: np.ndarray | None) -> str:
    """A digest of settings and arrays: equal exactly when a descent would be."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in arrays:
        shape = None if array is None else array.shape
        digest.update(str(shape).encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def save(
    path: str | os.PathLike[str], checkpoint: Checkpoint, fingerprint: str
) -> None:
    """Writes a checkpoint, whole or not at all.

    Args:
      path: the file to write (``.npz``).
      checkpoint: what to write.
      fingerprint: of the run it belongs to.
    """
    leaves = jax.tree.leaves(checkpoint.state)
    arrays = {f"state_{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    record = {
        "format_version": _FORMAT_VERSION,
        "fingerprint": fingerprint,
        "iteration": checkpoint.iteration,
        "seconds": checkpoint.seconds,
    }
    arrays["history"] = np.asarray(checkpoint.history, np.float32)
    arrays["metadata"] = np.asarray(json.dumps(record))
    with files.atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def load(
    path: str | os.PathLike[str], like: Any, fingerprint: str
) -> Checkpoint | None:
    """Reads the checkpoint at ``path``, if there is one.

    Args:
      path: the file to read.
      like: a state of the same structure, shapes and types, of arrays or of
        ``jax.ShapeDtypeStruct``.
      fingerprint: of the run that resumes.

    Returns:
      The checkpoint, or None when there is no such file.

    Raises:
      InputError: the file is damaged, or belongs to a run of other settings or input.
    """
    name, remedy = npz_file.path_of(path), "delete it to start afresh"
    if not os.path.lexists(name):
        return None
    with npz_file.open_npz(name, what="checkpoint", remedy=remedy) as content:
        record = _record(content)
        arrays = {key: content.read(key) for key in content.keys}
    version, found = record["format_version"], record["fingerprint"]
    if version != _FORMAT_VERSION or found != fingerprint:
        raise InputError(
            f"{name}: a checkpoint of other settings or other input; {remedy}, or "
            "choose another output"
        )
    leaves, structure = jax.tree.flatten(like)
    stored = [arrays.get(f"state_{i}") for i in range(len(leaves))]
    history, iteration = arrays.get("history"), record["iteration"]
    if (
        list(map(_form, stored)) != list(map(_form, leaves))
        or history is None
        or history.ndim != 2
        or len(history) != iteration
    ):
        raise InputError(f"{name}: a checkpoint of another version; {remedy}")
    state = jax.tree.unflatten(structure, stored)
    return Checkpoint(iteration, record["seconds"], state, history)


def _form(array: Any) -> tuple | None:
    return None if array is None else (array.shape, array.dtype)


def _record(content: npz_file.NpzFile) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    record = json.loads(str(content.read("metadata")))
    for key, kind in (
        ("format_version", int),
        ("fingerprint", str),
        ("iteration", int),
        ("seconds", int | float),
    ):
        if not isinstance(record[key], kind):
            raise ValueError(f"its {key} is {shown(record[key])}")
    return record
