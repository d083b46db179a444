"""Checks of the rows of an array of embeddings."""

from typing import Any

import numpy as np

from hyperface_jax.embeddings.conversion import as_array
from hyperface_jax.errors import InputError

# float32 rows normalised by any library are within a few 1e-7 of length 1; 1e-3 lets
# rows pass that went through float16, and no row somebody forgot to normalise.
NORM_TOLERANCE = 1e-3
# Rows processed at once where a copy of all could be too large: 128 MB at 512
# dimensions.
ROWS_AT_ONCE = 65_536


def check_embeddings(embeddings: Any, name: str) -> None:
    """Raises InputError unless ``embeddings`` is ``[n, d]``, finite, with unit rows.

    Args:
      embeddings: the array.
      name: what to call it in the message: a file name or an argument's name.
    """
    embeddings = as_array(embeddings, name)
    check_form(embeddings.shape, embeddings.dtype, name)
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


def check_form(shape: tuple[int, ...], dtype: np.dtype, name: str) -> None:
    """Raises InputError unless shape and type are those of rows of floats.

    Args:
      shape: of the array.
      dtype: of the array.
      name: what to call it in the message.
    """
    if len(shape) != 2:
        raise InputError(f"{name}: embeddings have shape {shape}, expected [n, d]")
    if not np.issubdtype(dtype, np.floating):
        raise InputError(
            f"{name}: embeddings are {dtype}, expected float32; "
            "convert with embeddings.astype('float32')"
        )
    if 0 in shape:
        raise InputError(f"{name}: embeddings are empty, shape {shape}")
