"""Where compiled kernels are kept: the first place that can be written to.

Numba reads its cache with ``pickle``, which runs whatever the file says. So beside the
place that the user names and the package itself, whose sources are run anyway, only a
folder will do that nobody else can have written to.
"""

import contextlib
import os
import pathlib
import stat
import tempfile
from collections.abc import Iterator

_PACKAGE = pathlib.Path(__file__).parent


def find_folder(name: str, given: str | os.PathLike[str] | None) -> pathlib.Path | None:
    """The folder to keep kernels in, created when missing.

    Args:
      name: of the folder, wherever it is.
      given: where the user wants it, or nothing.

    Returns:
      The first that can be written to of: a folder in ``given``; in the
      ``__pycache__`` of the package; in the user's cache; in the folder for temporary
      files. None where none can.
    """
    for place in (given, _PACKAGE / "__pycache__"):
        if place and _is_writable(pathlib.Path(place) / name):
            return pathlib.Path(place) / name
    for place in _places_outside():
        private = place / f"hyperface_jax-{_user()}"
        if _is_private(private) and _is_writable(private / name):
            return private / name
    return None


def _places_outside() -> Iterator[pathlib.Path]:
    if named := os.environ.get("XDG_CACHE_HOME"):
        yield pathlib.Path(named)
    try:
        home = pathlib.Path.home()
    except RuntimeError:  # No variable says where, and the user has no entry.
        pass
    else:
        # A home that is only a name is not made, not even by who could.
        if home.is_dir():
            yield home / ".cache"
    try:
        yield pathlib.Path(tempfile.gettempdir())
    except OSError:  # There is none that can be written to.
        pass


def _is_writable(folder: pathlib.Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Permissions do not tell: the file system may be read-only.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _is_private(folder: pathlib.Path) -> bool:
    """Whether ``folder``, made if missing, is this user's alone and will stay so."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        # Not of what a link leads to.
        found, around = folder.lstat(), folder.parent.stat()
    except OSError:
        return False
    if not hasattr(os, "geteuid"):
        # Where modes say little, these places are the user's own.
        return stat.S_ISDIR(found.st_mode)
    # Who may write to the folder around it could put another in its place, save where,
    # as in /tmp, only its owner may move a thing.
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
