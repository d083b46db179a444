"""Compilation of what is too slow in Python, cached on the disk."""

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
        f"numba refuses {_THREADS}={os.environ[_THREADS]}: {error} Unset it"
    ) from None
if numba.config.DISABLE_JIT:
    # What is compiled reads records by names, which NumPy's do not have.
    raise InputError(f"faces are rendered by compiled code only; unset {_NO_COMPILER}")


def _sources_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


# Numba keeps what it compiled until the file of the function itself changes; what that
# calls may be in another. So a change of any source here is another cache. Worker
# processes find the same as the one that started them.
_CACHE = find_folder(f"compiled-{_sources_digest()}", numba.config.CACHE_DIR)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles ``function`` at its first call, or takes it from the cache.

    Where no place will do for a cache, each process compiles for itself.
    """
    if _CACHE is None:
        return numba.njit(error_model="numpy")(function)
    before = numba.config.CACHE_DIR
    try:
        # Read when a function is decorated, and by nothing later.
        numba.config.CACHE_DIR = str(_CACHE)
        return numba.njit(cache=True, error_model="numpy")(function)
    finally:
        numba.config.CACHE_DIR = before
