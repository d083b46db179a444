"""Compilation of kernels with numba, cached on disk."""

import hashlib
import os
import pathlib
from collections.abc import Callable
from typing import Any

from bridges.faces.kernel_cache import find_folder
from hyperface_jax import InputError

_THREADS, _NO_COMPILER = "NUMBA_NUM_THREADS", "NUMBA_DISABLE_JIT"
try:
    import numba
except ValueError as error:
    if _THREADS not in os.environ:
        raise
    raise InputError(
        f"{_THREADS}={os.environ[_THREADS]}: numba refuses it "
        f"({str(error).rstrip('.')}); unset it"
    ) from None
if numba.config.DISABLE_JIT:
    # Kernels read the fields of records as attributes, which NumPy's do not have.
    raise InputError(
        f"{_NO_COMPILER} is set, but faces are rendered by compiled code only; unset it"
    )


def _sources_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


# Numba invalidates a cached function only when its own file changes, not the files of
# the functions it calls. So the folder is named by a digest of all sources here. Worker
# processes find the same folder as the process that started them.
_CACHE = find_folder(f"compiled-{_sources_digest()}", numba.config.CACHE_DIR)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles ``function`` at its first call, or loads it from the cache.

    Without a usable cache folder, each process compiles for itself.
    """
    if _CACHE is None:
        return numba.njit(error_model="numpy")(function)
    before = numba.config.CACHE_DIR
    try:
        # Numba reads it when a function is decorated, never later.
        numba.config.CACHE_DIR = str(_CACHE)
        return numba.njit(cache=True, error_model="numpy")(function)
    finally:
        numba.config.CACHE_DIR = before
