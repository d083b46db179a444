"""Files that appear whole or not at all."""

import contextlib
import errno
import functools
import hashlib
import json
import os
import pathlib
import re
import secrets
import shutil
import stat
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

from hyperface_jax.commands import InputError
from hyperface_jax.given import shown

PathLike = str | os.PathLike[str]
# In a folder that is being written.
LOCK = ".lock"
# Names for what a process has open: a file behind one of them has to be written to,
# since whoever opened it would never see another put in its place.
_OPEN_FILES = re.compile(r"/dev/(stdout|stderr|fd/\d+)|/proc/(self|\d+)/fd/\d+")
# A lock that fails for one of these could not be had on any file system.
_NO_LOCK_FILE = (
    errno.EACCES,
    errno.EDQUOT,
    errno.EMFILE,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EROFS,
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


def check_output(path: PathLike) -> None:
    """Checks that ``path`` can be written, before work whose result it is to hold.

    Raises:
      InputError: ``path`` is a folder, a disk or a socket, or its folder is a file.
      PermissionError: it, its folder, or where that would be made, may not be written.
    """
    path = _without_links(path_of(path))
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file to write")
    if path.is_block_device() or path.is_socket():
        what = "disk" if path.is_block_device() else "socket"
        raise InputError(f"{path}: is a {what}, expected a file to write")
    if is_stream(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(f"{path}: may not be written to; name a file")
        return
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file, expected a folder to write to")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder}: may not be written to; name another folder")


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[pathlib.Path]:
    """Yields a path beside ``path`` to write to; renames it into place at the end.

    The file is synced to the disk before the rename, so after a power cut ``path``
    holds either what it held before or the whole new content. When the body raises,
    the temporary file is removed and ``path`` is untouched. When the body is done but
    its result can't be put in place, it is kept under a name that the error gives.

    Args:
      path: the file to create or replace. Its folder is created when missing. Where it
        is a link, what it leads to is replaced; a device or a pipe is written to.

    Yields:
      The temporary path, with the same suffix and, but for devices and pipes, in the
      same folder.

    Raises:
      InputError: ``path`` is a folder, or its folder is a file.
      PermissionError: its folder may not be written.
      OSError: the finished result could not be put in place.
    """
    check_output(path)
    path, through = _without_links(path), is_stream(path)
    if through:
        handle, name = tempfile.mkstemp(suffix=path.suffix)
        os.close(handle)
        temporary = pathlib.Path(name)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _create_beside(path)
    try:
        yield temporary
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    try:
        if through:
            # Behind a name for an open file there may be something already.
            with open(temporary, "rb") as content, open(path, "ab") as stream:
                shutil.copyfileobj(content, stream)
            temporary.unlink()
        else:
            _sync_file(temporary)
            os.replace(temporary, path)
    except OSError as error:
        raise _kept(temporary, path, error) from None
    if not through:
        _sync_folder(path.parent)


def remove_partial(path: PathLike) -> None:
    """Removes what processes left beside ``path`` that were killed while writing it.

    Only when no other process is writing it.
    """
    path = _without_links(path)
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
    """Holds the lock file ``path``, released when the process ends, however it ends.

    On a file system that has no locks it warns, and goes on without.

    Args:
      path: created, in a folder that is created when missing, and removed at the end;
        one that a kill has left is no hindrance.
      what: for the message: what is being written.

    Raises:
      InputError: another process holds it, or its folder is a file.
    """
    # Here, because commands that only print their help import this module.
    import filelock

    check_output(path)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise InputError(
            f"{what}: another process is writing it; wait for it, or name another "
            "output"
        ) from None
    except (OSError, NotImplementedError) as error:
        if getattr(error, "errno", None) in _NO_LOCK_FILE:
            raise
        reason = getattr(error, "strerror", None) or error
        warnings.warn(
            f"{path.parent}: its file system has no locks ({reason}); see to it that "
            f"no second command writes {what} meanwhile",
            stacklevel=3,
        )
    try:
        yield
    finally:
        # Removed while it is held: whoever waits for it notices that it is gone. Not
        # everywhere can an open file be removed; then it stays, which does no harm.
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        lock.release()


def write_bytes(path: PathLike, content: bytes) -> None:
    """Writes ``content`` to ``path``, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: PathLike, text: str) -> None:
    """Writes ``text`` to ``path`` as UTF-8, whole or not at all.

    File names in it that are not UTF-8 become the bytes they are on the disk.
    """
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


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


def _without_links(path: PathLike) -> pathlib.Path:
    """Where ``path`` leads, for a link that is not a name for an open file."""
    path = pathlib.Path(path)
    if path.is_symlink() and not is_stream(path):
        return pathlib.Path(os.path.realpath(path))
    return path


def _affixes(path: pathlib.Path) -> tuple[str, str]:
    """What the names of temporary files beside ``path`` begin and end with."""
    return f".{path.stem}-", f".partial{path.suffix}"


def _create_beside(path: pathlib.Path) -> pathlib.Path:
    """Creates an empty file with the mode of a plain ``open``."""
    # The tempfile module makes files private, and not every file system lets their
    # mode be changed afterwards.
    prefix, suffix = _affixes(path)
    while True:
        temporary = path.with_name(f"{prefix}{secrets.token_hex(4)}{suffix}")
        with contextlib.suppress(FileExistsError):
            temporary.touch(exist_ok=False)
            return temporary


def _remove_matching(folder: pathlib.Path, prefix: str, suffix: str) -> None:
    # Eight characters are between them; more are of another file's name.
    partial = re.compile(prefix + "[a-z0-9_]{8}" + suffix)
    for entry in folder.iterdir():
        if partial.fullmatch(entry.name):
            entry.unlink(missing_ok=True)


def _kept(temporary: pathlib.Path, path: pathlib.Path, error: OSError) -> OSError:
    """What to raise when a finished file could not become ``path``."""
    kept = temporary
    if temporary.parent == path.parent:
        # Under a name that nobody clears away.
        visible = path.with_name(f"{path.stem}-{secrets.token_hex(4)}{path.suffix}")
        with contextlib.suppress(OSError):
            os.rename(temporary, visible)
            kept = visible
    return OSError(
        f"{path}: the finished result can't be put there ({error.strerror or error}); "
        f"it is kept as {kept}"
    )


def _sync_file(path: pathlib.Path) -> None:
    with open(path, "rb+") as file:
        try:
            os.fsync(file)
        except OSError as error:
            # The content itself is in doubt; anything else is a system that can't.
            if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
                raise
            _warn_of_sync(path.parent, error)


def _sync_folder(path: pathlib.Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows: folders can't be opened, and need not be.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        _warn_of_sync(path, error)


def _warn_of_sync(folder: pathlib.Path, error: OSError) -> None:
    _warn_once(
        f"{folder}: its file system does not confirm what is on the disk "
        f"({error.strerror or error}); a power cut may undo the last seconds"
    )


@functools.cache
def _warn_once(text: str) -> None:
    warnings.warn(text, stacklevel=5)
