"""The folder that caches compiled kernels: the first candidate that is writable.

Numba loads its cache with ``pickle``, which can run any code in the file. So outside of
the folder that the user names and of the package itself, whose sources are run anyway,
a folder is used only if no other user can have written to it.
"""

import contextlib
import os
import pathlib
import stat
import tempfile
from collections.abc import Iterator

from bridges.cache_folders import is_writable, user_caches

_PACKAGE = pathlib.Path(__file__).parent


def find_folder(name: str, given: str | os.PathLike[str] | None) -> pathlib.Path | None:
    """Finds the folder to cache kernels in, and creates it if missing.

    Args:
      name: name of the folder.
      given: its parent if the user has set one, else None or empty.

    Returns:
      The first writable folder of this name in: ``given``; the ``__pycache__`` of the
      package; the user's cache; the folder for temporary files. None if none is.
    """
    for place in (given, _PACKAGE / "__pycache__"):
        if place and is_writable(pathlib.Path(place) / name):
            return pathlib.Path(place) / name
    for place in _places_outside():
        private = place / f"hyperface_jax-{_user()}"
        if _is_private(private) and is_writable(private / name):
            return private / name
    return None


def _places_outside() -> Iterator[pathlib.Path]:
    yield from user_caches()
    try:
        yield pathlib.Path(tempfile.gettempdir())
    except OSError:  # No folder for temporary files is writable.
        pass


def _is_private(folder: pathlib.Path) -> bool:
    """Whether ``folder``, created if missing, is private and cannot be replaced."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        # lstat, because a link may lead to another user's folder.
        found, around = folder.lstat(), folder.parent.stat()
    except OSError:
        return False
    if not hasattr(os, "geteuid"):
        # On Windows modes say little, but these places belong to the user.
        return stat.S_ISDIR(found.st_mode)
    # Whoever may write to the parent could replace the folder, unless the sticky bit
    # (as on /tmp) lets only owners move their files.
    fixed = not around.st_mode & 0o022 or bool(around.st_mode & stat.S_ISVTX)
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.geteuid()
        and not found.st_mode & 0o077
        and around.st_uid in (0, os.geteuid())
        and fixed
    )


def _user() -> str:
    return str(os.geteuid()) if hasattr(os, "geteuid") else "user"
