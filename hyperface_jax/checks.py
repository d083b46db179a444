"""Checks of arrays and numbers, made once, in NumPy, before anything is compiled."""

from typing import Any

import numpy as np

from hyperface_jax.embeddings import labels as labels_of
from hyperface_jax.embeddings.conversion import as_array
from hyperface_jax.embeddings.rows import ROWS_AT_ONCE, check_embeddings
from hyperface_jax.errors import InputError, shown

# The largest int32, the type in which compiled code counts.
MOST = 2**31 - 1


def unit_rows(array: Any, name: str, *, min_rows: int = 1) -> np.ndarray:
    """Returns ``array`` as contiguous float32 with rows of length 1 to rounding.

    Args:
      array: ``[n, d]``, NumPy or JAX, any floating dtype and byte order, rows of
        length 1 within 1e-3 (float16 rows pass).
      name: what to call the array in a message.
      min_rows: the smallest acceptable ``n``.

    Returns:
      ``[n, d]`` float32. Rows are normalised again, in float64, so that results do not
      depend on how exactly the caller normalised them.

    Raises:
      InputError: wrong rank or dtype, non-finite or non-unit rows, too few rows.
    """
    array = as_array(array, name)
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
    """Raises InputError unless ``low <= value <= high``, or ``<`` at an open end.

    Infinity is out of every range.
    """
    if not _is_number(value):
        raise InputError(f"{name} is {shown(value)}, must be a number")
    # Written so that NaN fails.
    above = low < value if open_low else low <= value
    below = value < high if open_high else value <= high
    if not (above and below and abs(value) != np.inf):
        bound = "more than" if open_low else "at least"
        most = "less than" if open_high else "at most"
        upper = " and finite" if np.isinf(high) else f" and {most} {high:.10g}"
        raise InputError(f"{name} is {_written(value)}, must be {bound} {low:g}{upper}")


def whole_number(value: int, name: str, low: int, high: float = np.inf) -> None:
    """Raises InputError unless ``value`` is a whole number from ``low`` to ``high``."""
    if not _is_number(value) or isinstance(value, float | np.floating):
        raise InputError(f"{name} is {shown(value)}, must be a whole number")
    if not low <= value <= high:
        upper = "" if np.isinf(high) else f" and at most {high}"
        raise InputError(f"{name} is {_written(value)}, must be at least {low}{upper}")


def block_size(value: int | None) -> None:
    """Raises InputError unless ``value`` can be the side of a tile, or is None."""
    if value is not None:
        whole_number(value, "block_size", 1, MOST)


def labels(values: Any, n: int) -> np.ndarray:
    """Labels, numbers or names, as ``[n]`` int64."""
    return labels_of.coded(values, n, "labels").codes


def one_of(value: str, name: str, choices: tuple[str, ...]) -> None:
    """Raises InputError unless ``value`` is one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(
            f"{name} is {shown(value)}, must be one of {', '.join(choices)}"
        )


def instance_of(value: Any, name: str, kind: type) -> None:
    """Raises InputError unless ``value`` is of the class ``kind``."""
    if not isinstance(value, kind):
        raise InputError(f"{name} is {shown(value)}, must be a {kind.__name__}")


def can_be_called(value: Any, name: str) -> None:
    """Raises InputError unless ``value`` is a function, or None."""
    if value is not None and not callable(value):
        raise InputError(f"{name} is {shown(value)}, must be a function")


def _is_number(value: Any) -> bool:
    # A bool is an int to Python, and never what was meant.
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(
        value, bool | np.bool
    )


def _written(value: Any) -> str:
    """A number as such: NumPy's and Python's look the same."""
    return shown(value.item() if isinstance(value, np.generic) else value)
