"""Checks of arrays and numbers, done once, in NumPy, before anything is compiled."""

from typing import Any

import numpy as np

from hyperface_jax.commands import InputError
from hyperface_jax.embedding_file import ROWS_AT_ONCE, check_embeddings


def unit_rows(array: Any, name: str, *, min_rows: int = 1) -> np.ndarray:
    """Returns ``array`` as contiguous float32 with rows of length 1 to rounding.

    Args:
      array: ``[n, d]``, NumPy or JAX, any floating dtype and byte order, rows of
        length 1 within 1e-3 (float16 rows pass).
      name: what to call the array in a message.
      min_rows: the smallest acceptable ``n``.

    Returns:
      ``[n, d]`` float32. Rows are divided by their norms, in float64, so that what
      follows need not wonder how exact the caller's normalisation was.

    Raises:
      InputError: wrong rank or dtype, non-finite or non-unit rows, too few rows.
    """
    try:
        array = np.asarray(array)
    except ValueError:
        raise InputError(
            f"{name}: its rows differ in length, expected [n, d]"
        ) from None
    # Other libraries' bfloat16 is no NumPy float; float32 holds it exactly.
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    check_embeddings(array, name)
    if len(array) < min_rows:
        raise InputError(
            f"{name}: {len(array)} row, needs at least {min_rows}; "
            "there is nothing to spread apart otherwise"
        )
    rows = np.empty(array.shape, np.float32)
    for first in range(0, len(array), ROWS_AT_ONCE):
        some = slice(first, first + ROWS_AT_ONCE)
        exact = array[some].astype(np.float64)
        rows[some] = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    return rows


def same_dimension(first: np.ndarray, second: np.ndarray, names: str) -> None:
    """Raises InputError unless both arrays have the same number of columns.

    Args:
      first: ``[n, d]``.
      second: ``[m, d]``.
      names: both names for the message, such as ``"initial and gallery"``.
    """
    if first.shape[1] != second.shape[1]:
        raise InputError(
            f"{names} have {first.shape[1]} and {second.shape[1]} columns; both must "
            "come from the same recogniser"
        )


def in_range(
    value: float,
    name: str,
    low: float,
    high: float = np.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Raises InputError unless ``low <= value <= high``, or ``<`` at an open end."""
    if isinstance(value, str) or not np.isscalar(value):
        raise InputError(f"{name} is {value!r}, must be a number")
    # Written so that NaN fails.
    above = low < value if open_low else low <= value
    below = value < high if open_high else value <= high
    if not (above and below):
        bound = "more than" if open_low else "at least"
        most = "less than" if open_high else "at most"
        upper = "" if np.isinf(high) else f" and {most} {high:g}"
        raise InputError(f"{name} is {value}, must be {bound} {low:g}{upper}")


def whole_number(value: int, name: str, low: int, high: float = np.inf) -> None:
    """Raises InputError unless ``value`` is a whole number from ``low`` to ``high``."""
    # A bool is an int to Python, and never what was meant.
    if isinstance(value, bool | np.bool) or not isinstance(value, int | np.integer):
        raise InputError(f"{name} is {value!r}, must be a whole number")
    in_range(value, name, low, high)


def labels(values: Any, n: int) -> np.ndarray:
    """Returns ``values`` as an array; raises InputError unless there is one a row."""
    values = np.asarray(values)
    if values.shape != (n,):
        raise InputError(f"labels have shape {values.shape}, expected ({n},)")
    return values


def one_of(value: str, name: str, choices: tuple[str, ...]) -> None:
    """Raises InputError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise InputError(f"{name} is {value!r}, must be one of {', '.join(choices)}")
