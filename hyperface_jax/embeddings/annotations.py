"""What an embedding file says of its rows: labels, names, groups, attributes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hyperface_jax.embeddings import metadata, npz_file
from hyperface_jax.embeddings.conversion import as_array, as_strings
from hyperface_jax.embeddings.labels import check_identities, coded
from hyperface_jax.errors import InputError, shown

_GROUP, _PREDICTED = "group_", "predicted_"
_KEYS = ("labels", "identities", "names", "metadata")


class About(NamedTuple):
    """What an embedding file says of its rows; see :class:`EmbeddingFile`."""

    labels: np.ndarray | None
    names: np.ndarray | None
    metadata: dict[str, Any]
    groups: dict[str, np.ndarray]
    identities: np.ndarray | None = None
    predicted: dict[str, np.ndarray] | None = None


def to_arrays(
    labels: Any, names: Any, groups: Any, predicted: Any, rows: int, name: str
) -> dict[str, np.ndarray]:
    """What is to be written beside the rows, by key.

    Args:
      labels: ``[rows]`` whole numbers or names, or None.
      names: ``[rows]`` strings, or None.
      groups: ``[rows]`` strings by attribute, or None.
      predicted: ``[rows]`` numbers or strings by attribute, or None.
      rows: how many embeddings there are.
      name: of the file.

    Raises:
      InputError: one of them isn't that.
    """
    arrays = {}
    if labels is not None:
        found = coded(labels, rows, f"{name}: labels")
        arrays["labels"] = found.codes
        if found.identities is not None:
            arrays["identities"] = found.identities
    if names is not None:
        arrays["names"] = as_strings(names, rows, f"{name}: names")
    for attribute, values in _by_attribute(
        groups, "strings", f"{name}: groups"
    ).items():
        key = _GROUP + attribute
        arrays[key] = as_strings(values, rows, f"{name}: {key}")
    for attribute, values in _by_attribute(
        predicted, "values", f"{name}: predicted"
    ).items():
        key = _PREDICTED + attribute
        numbers = as_array(values, f"{name}: {key}").dtype.kind == "f"
        convert = _as_numbers if numbers else as_strings
        arrays[key] = convert(values, rows, f"{name}: {key}")
    return arrays


def read_arrays(content: npz_file.NpzFile) -> dict[str, np.ndarray]:
    """The arrays that say something of the rows; others are nobody's business."""
    return {
        key: content.read(key)
        for key in content.keys
        if key in _KEYS or key.startswith((_GROUP, _PREDICTED))
    }


def of_arrays(arrays: dict[str, np.ndarray], rows: int, name: str) -> About:
    """The checked content of :func:`read_arrays`.

    Args:
      arrays: by key.
      rows: how many embeddings there are.
      name: of the file.

    Raises:
      InputError: another number of entries than rows, or of another type.
    """
    labels = identities = None
    if "labels" in arrays:
        labels, identities = coded(arrays["labels"], rows, f"{name}: labels")
        if identities is None and "identities" in arrays:
            identities = arrays["identities"]
            check_identities(labels, identities, name)
    names = _per_row(arrays, "names", rows, name)
    groups = {
        key.removeprefix(_GROUP): _per_row(arrays, key, rows, name)
        for key in sorted(arrays)
        if key.startswith(_GROUP)
    }
    predicted = {
        key.removeprefix(_PREDICTED): _per_row(arrays, key, rows, name, "Uf")
        for key in sorted(arrays)
        if key.startswith(_PREDICTED)
    }
    decoded = metadata.decoded(arrays.get("metadata"), name)
    return About(labels, names, decoded, groups, identities, predicted or None)


def _by_attribute(given: Any, what: str, name: str) -> Mapping[str, Any]:
    """What is given by attribute; empty for None."""
    if not isinstance(given, Mapping | None):
        raise InputError(f"{name} are {shown(given)}, expected {what} by attribute")
    for attribute in given or {}:
        if not (isinstance(attribute, str) and attribute and attribute.isprintable()):
            raise InputError(f"{name}: {shown(attribute)} can't be an attribute's name")
    return given or {}


def _as_numbers(values: Any, n: int, name: str) -> np.ndarray:
    """``values`` as ``[n]`` finite float32."""
    array = as_array(values, name)
    if array.shape != (n,) or not np.isfinite(array).all():
        raise InputError(
            f"{name} is {array.shape}, expected {n} finite numbers, one for each "
            "embedding"
        )
    return array.astype(np.float32)


def _per_row(
    arrays: dict[str, np.ndarray], key: str, rows: int, name: str, kinds: str = "U"
) -> np.ndarray | None:
    array = arrays.get(key)
    if array is not None and (array.shape != (rows,) or array.dtype.kind not in kinds):
        expected = "str" if kinds == "U" else "str or float"
        raise InputError(
            f"{name}: {key} is {array.dtype} {array.shape}, expected "
            f"{expected} ({rows},), one for each embedding"
        )
    return array
