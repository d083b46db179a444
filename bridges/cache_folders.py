"""Where a user's files are kept that can be made or fetched again."""

import os
import pathlib
import tempfile
from collections.abc import Iterator


def user_caches() -> Iterator[pathlib.Path]:
    """The folders for the user's caches, the one that the user has named first."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        yield pathlib.Path(named)
    try:
        home = pathlib.Path.home()
    except RuntimeError:  # HOME is not set and the user is not in the database.
        return
    # A home that does not exist is not created, even with the permission to.
    if home.is_dir():
        yield home / ".cache"


def is_writable(folder: pathlib.Path) -> bool:
    """Whether ``folder``, created if missing, can be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Permissions alone are not enough: the file system may be read-only.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
