"""Checkpoints of a descent: where it was, so that it can go on to the same bits."""

import hashlib
import json
import os
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from hyperface_jax import files
from hyperface_jax.commands import InputError

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
      fingerprint: of the run that wants to go on.

    Returns:
      The checkpoint, or None when there is no such file.

    Raises:
      InputError: the file is damaged, or belongs to a run of other settings or input.
    """
    if not pathlib.Path(path).exists():
        return None
    remedy = "delete it to start afresh"
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        record = json.loads(str(arrays["metadata"]))
        found, version = record["fingerprint"], record["format_version"]
    except Exception as error:
        # np.load raises whatever the damaged part makes zipfile, zlib or ast raise.
        # What isn't an .npz at all, it takes for a pickle and offers to load unsafely.
        reason = "no .npz file" if "pickle" in str(error) else error
        raise InputError(
            f"{path}: not a readable checkpoint ({reason}); {remedy}"
        ) from None
    if version != _FORMAT_VERSION or found != fingerprint:
        raise InputError(
            f"{path}: a checkpoint of other settings or other input; {remedy}, or "
            "choose another output"
        )
    leaves, structure = jax.tree.flatten(like)
    stored = [arrays.get(f"state_{i}") for i in range(len(leaves))]
    for leaf, array in zip(leaves, stored, strict=True):
        if array is None or (array.shape, array.dtype) != (leaf.shape, leaf.dtype):
            raise InputError(f"{path}: a checkpoint of another version; {remedy}")
    state = jax.tree.unflatten(structure, stored)
    return Checkpoint(record["iteration"], record["seconds"], state, arrays["history"])
