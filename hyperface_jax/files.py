"""Files that appear whole or not at all."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator
from typing import Any

from hyperface_jax.commands import InputError

PathLike = str | os.PathLike[str]
# In a folder that is being written.
LOCK = ".lock"


def is_same(first: PathLike, second: PathLike) -> bool:
    """Whether two paths lead to one file; no when either leads to none."""
    paths = (first, second)
    return all(map(os.path.exists, paths)) and os.path.samefile(*paths)


def check_output(path: PathLike) -> None:
    """Checks that ``path`` can be written, before work whose result it is to hold.

    Raises:
      InputError: ``path`` is a folder, or its folder is a file.
      PermissionError: its folder, or where that would be made, may not be written.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file to write")
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file, expected a folder to write to")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder}: may not be written to; name another folder")


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[pathlib.Path]:
    """Yields a path beside ``path`` to write to; renames it into place at the end.

    The file is synced to the disk before the rename, so after a power cut ``path``
    holds either what it held before or the whole new content. When the body raises,
    the temporary file is removed and ``path`` is untouched.

    Args:
      path: the file to create or replace. Its folder is created when missing.

    Yields:
      The temporary path, in the same folder and with the same suffix.

    Raises:
      InputError: ``path`` is a folder, or its folder is a file.
      PermissionError: its folder may not be written.
    """
    check_output(path)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix, suffix = _affixes(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=suffix)
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        yield temporary
        _sync(temporary)
        # mkstemp makes files private; give the result the mode a plain open() would.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_partial(path: PathLike) -> None:
    """Removes what processes left beside ``path`` that were killed while writing it.

    Only when no other process is writing it.
    """
    path = pathlib.Path(path)
    _remove_matching(path.parent, *map(re.escape, _affixes(path)))


def remove_partials(folder: PathLike) -> None:
    """Removes every file in ``folder`` whose writing was ended by a kill.

    Only when no other process is writing there. A folder that is not there is fine.
    """
    if pathlib.Path(folder).is_dir():
        _remove_matching(pathlib.Path(folder), r"\..*-", r"\.partial(\..*)?")


@contextlib.contextmanager
def exclusive(folder: PathLike) -> Iterator[None]:
    """Writes to ``folder`` while no other process does that asks for the same.

    Clears what killed ones left half-written.

    Args:
      folder: created when missing.

    Raises:
      InputError: another process holds it, or it is a file.
    """
    with locked(pathlib.Path(folder) / LOCK, what=folder):
        remove_partials(folder)
        yield


@contextlib.contextmanager
def locked(path: PathLike, *, what: PathLike) -> Iterator[None]:
    """Holds the lock file ``path``; the end of the process, however, lets go of it.

    Args:
      path: created, in a folder that is created when missing, and removed at the end;
        one that a kill has left is no hindrance.
      what: for the message: what is being written.

    Raises:
      InputError: another process holds it, or its folder is a file.
    """
    check_output(path)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _lock(path, what)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def write_bytes(path: PathLike, content: bytes) -> None:
    """Writes ``content`` to ``path``, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: PathLike, text: str) -> None:
    """Writes ``text`` to ``path`` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: PathLike, value: Any) -> None:
    """Writes ``value`` to ``path`` as indented JSON, whole or not at all.

    Raises:
      ValueError: ``value`` holds NaN or infinity, which JSON has no word for.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sha256_of(path: PathLike) -> str:
    """Returns the SHA-256 of the file at ``path`` in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _affixes(path: pathlib.Path) -> tuple[str, str]:
    """What the names of temporary files beside ``path`` begin and end with."""
    return f".{path.stem}-", f".partial{path.suffix}"


def _remove_matching(folder: pathlib.Path, prefix: str, suffix: str) -> None:
    # mkstemp puts eight characters between them; more are of another file's name.
    partial = re.compile(prefix + "[a-z0-9_]{8}" + suffix)
    for entry in folder.iterdir():
        if partial.fullmatch(entry.name):
            entry.unlink(missing_ok=True)


def _lock(path: pathlib.Path, what: PathLike) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise InputError(
                f"{what}: another process is writing it; wait for it, or name another "
                "output"
            ) from None
        # Its last holder may have removed it between the opening and the locking.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def _sync(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
