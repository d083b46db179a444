"""Labels: which identity each row is of, as numbers or as names."""

import math
from typing import Any, NamedTuple

import numpy as np

from hyperface_jax.embeddings.conversion import NUL, WITHOUT_NUL, as_array
from hyperface_jax.errors import InputError, shown

_INT64 = np.iinfo(np.int64)
_EXPECTED = "expected a whole number or a name"


class Labels(NamedTuple):
    """Labels as numbers.

    Attributes:
      codes: ``[n]`` int64, the same for rows of the same identity.
      identities: ``[k]`` str, the name of each code, in rising order; None where the
        labels were numbers, which are then the codes.
    """

    codes: np.ndarray
    identities: np.ndarray | None


def coded(values: Any, n: int, name: str) -> Labels:
    """Checks labels, and turns names into numbers.

    Args:
      values: ``[n]`` whole numbers, or floats that are whole, or names.
      n: how many there must be.
      name: what to call them in a message.

    Raises:
      InputError: another number of them; one that is neither, such as NaN, a fraction,
        a bool, None, an empty name, one that holds a NUL, or a masked entry; or both
        kinds mixed. The message names the row.
    """
    array = _as_array(values, name)
    if array.shape != (n,):
        raise InputError(
            f"{name} have shape {array.shape}, expected ({n},), one for each embedding"
        )
    if array.dtype.kind in "OT":
        array = _of_one_kind(array.tolist(), name)
    elif array.dtype.kind == "U":
        _refuse_nul(array.tolist(), name)
    if array.dtype.kind == "U":
        _refuse_first(array == "", array, name)
        identities, codes = np.unique(array, return_inverse=True)
        return Labels(codes.astype(np.int64), identities)
    return Labels(_whole(array, name), None)


def check_identities(codes: np.ndarray, identities: np.ndarray, name: str) -> None:
    """Raises InputError unless every code has a name among ``identities``."""
    if identities.ndim != 1 or identities.dtype.kind != "U":
        raise InputError(
            f"{name}: identities is {identities.dtype} {identities.shape}, expected "
            "str [k], the name of each label"
        )
    missing = (codes < 0) | (codes >= len(identities))
    if missing.any():
        row = int(missing.argmax())
        raise InputError(
            f"{name}: row {row} has the label {codes[row]}, but there are only "
            f"{len(identities)} identities"
        )


def _as_array(values: Any, name: str) -> np.ndarray:
    """``values`` as an array, in which no kind of value is silently made another."""
    if isinstance(values, list | tuple | range):
        return np.fromiter(values, object, len(values))
    if not (hasattr(values, "__array__") or hasattr(values, "dtype")):
        raise InputError(
            f"{name} are {shown(values)}, expected a whole number or a name for each "
            "embedding"
        )
    return as_array(values, name)


def _of_one_kind(values: list[Any], name: str) -> np.ndarray:
    """Objects that are all names as such; numbers, exactly, as int64 or object."""
    are_names = isinstance(values[0], str) if values else False
    for row, value in enumerate(values):
        if isinstance(value, str):
            fits = are_names
        elif _exact(value) is None:
            raise InputError(f"{name}: row {row} is {shown(value)}, {_EXPECTED}")
        else:
            fits = not are_names
        if not fits:
            raise InputError(
                f"{name}: row {row} is {shown(value)} and row 0 {shown(values[0])}; "
                "give numbers for all, or names for all"
            )
    if are_names:
        _refuse_nul(values, name)
        return np.array(values, np.str_)
    return np.array([_exact(value) for value in values], np.int64)


def _refuse_nul(values: list[str], name: str) -> None:
    for row, value in enumerate(values):
        if NUL in value:
            raise InputError(f"{name}: row {row} is {shown(value)}, {WITHOUT_NUL}")


def _exact(value: Any) -> int | None:
    """A whole number of 64 bits as Python's, or None for anything else."""
    if isinstance(value, bool | np.bool) or not isinstance(
        value, int | float | np.integer | np.floating
    ):
        return None
    fraction = isinstance(value, float | np.floating)
    if fraction and not (math.isfinite(value) and value == int(value)):
        return None
    return int(value) if _INT64.min <= int(value) <= _INT64.max else None


def _whole(array: np.ndarray, name: str) -> np.ndarray:
    """``[n]`` int64 of an array of numbers."""
    if array.dtype.kind == "f":
        wide = array.astype(np.longdouble)
        # 2^63 itself is a float, and just too large.
        bad = ~((np.abs(wide) < 2.0**63) & (wide == np.floor(wide)))
    elif array.dtype.kind in "iu":
        bad = array > _INT64.max
    else:
        bad = np.ones(len(array), bool)
    _refuse_first(bad, array, name)
    return array.astype(np.int64)


def _refuse_first(bad: np.ndarray, array: np.ndarray, name: str) -> None:
    if bad.any():
        row = int(bad.argmax())
        value = array[row].item()
        raise InputError(f"{name}: row {row} is {shown(value)}, {_EXPECTED}")
