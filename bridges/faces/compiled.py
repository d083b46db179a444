"""Compilation of what is too slow in Python, cached on the disk."""

import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

import numba

_HERE = pathlib.Path(__file__).parent


def _sources_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(_HERE.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


# Numba keeps what it compiled until the file of the function itself changes; what that
# calls may be in another. So a change of any source here is another cache.
_CACHE = _HERE / "__pycache__" / f"compiled-{_sources_digest()}"


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles ``function`` at its first call, or takes it from the cache.

    Where nothing can be written here, the cache is wherever numba keeps it.
    """
    before = numba.config.CACHE_DIR
    try:
        # Read when a function is decorated, and by nothing later.
        numba.config.CACHE_DIR = before or str(_CACHE)
        return numba.njit(cache=True, error_model="numpy")(function)
    finally:
        numba.config.CACHE_DIR = before
