"""What a path leads to: a file, a stream that is written through, or nothing."""

import os
import pathlib
import re
import stat
from typing import Any

from hyperface_jax.errors import InputError, shown

PathLike = str | os.PathLike[str]
# Names for what a process has open: a file behind one of them has to be written to,
# since whoever opened it would never see another put in its place.
_OPEN_FILES = re.compile(
    r"/dev/(stdout|stderr|fd/\d+)|/proc/(self|thread-self|\d+)/fd/\d+"
)


def path_of(path: Any) -> str:
    """The path as text; raises InputError where it can't be one."""
    try:
        name = os.fsdecode(path)
        valid = name and b"\0" not in os.fsencode(name)
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise InputError(f"path is {shown(path)}, must name a file or a folder")
    return name


def is_same(first: PathLike, second: PathLike) -> bool:
    """Whether two paths lead to one file; no when either leads to none."""
    paths = (first, second)
    return all(map(os.path.exists, paths)) and os.path.samefile(*paths)


def is_stream(path: PathLike) -> bool:
    """Whether ``path`` is a device or a pipe, or a name for a file that is open.

    What is written there goes through: it can't be replaced, locked or read again.
    """
    if _OPEN_FILES.fullmatch(os.fspath(path)):
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def was_written(path: PathLike) -> bool:
    """Whether an earlier run may have left its result at ``path``."""
    return os.path.exists(path) and not is_stream(path)


def without_links(path: PathLike) -> pathlib.Path:
    """Where ``path`` leads, for a link that is not a name for an open file."""
    path = pathlib.Path(path)
    if path.is_symlink() and not is_stream(path):
        return pathlib.Path(os.path.realpath(path))
    return path
