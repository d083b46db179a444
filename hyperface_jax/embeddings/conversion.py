"""Converts arguments to arrays, refusing whatever can't be converted."""

from typing import Any

import numpy as np

from hyperface_jax.errors import InputError, reason_of, shown

# NumPy drops trailing NULs, so that two different strings may become equal.
NUL = "\0"
WITHOUT_NUL = "expected a string without the character NUL"


def as_array(values: Any, name: str) -> np.ndarray:
    """``values`` as an array, of whatever shape and type.

    Raises:
      InputError: it can't be made one, or some of it is masked.
    """
    _refuse_masked(values, name)
    try:
        array = np.asarray(values)
        # A type of other libraries, not a NumPy float; exact in float32.
        return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    except ValueError:
        raise InputError(
            f"{name}: its rows differ in length, expected [n, d]"
        ) from None
    except Exception as error:
        # Other libraries' arrays may raise anything.
        raise InputError(
            f"{name}: can't be made an array ({reason_of(error)})"
        ) from None


def as_strings(values: Any, n: int, name: str) -> np.ndarray:
    """``values`` as ``[n]`` str; nothing else is silently made a string.

    Raises:
      InputError: another number of them, or one that is no string; names the entry.
    """
    array = as_array(values, name)
    if array.shape != (n,):
        count = f"{array.shape[0]} entries" if array.ndim == 1 else f"{array.shape}"
        raise InputError(f"{name} has {count}, expected {n}, one for each embedding")
    # NumPy would convert every entry of a list to a string if one is.
    given = values if isinstance(values, list | tuple) else array.tolist()
    for row, value in enumerate(given):
        if not isinstance(value, str):
            raise InputError(
                f"{name}: entry {row} is {shown(value)}, expected a string"
            )
        if NUL in value:
            raise InputError(f"{name}: entry {row} is {shown(value)}, {WITHOUT_NUL}")
    return np.array(given, np.str_)


def _refuse_masked(values: Any, name: str) -> None:
    """Refuses a masked array's gaps, which NumPy would take for values."""
    if not isinstance(values, np.ma.MaskedArray):
        return
    mask = np.ma.getmaskarray(values)
    if mask.dtype == bool and mask.any():
        row = int(np.unravel_index(mask.argmax(), mask.shape)[0]) if mask.ndim else 0
        raise InputError(
            f"{name}: row {row} is masked; leave out the rows that are, or fill them in"
        )
