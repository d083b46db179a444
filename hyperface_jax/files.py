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
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from hyperface_jax.errors import InputError
from hyperface_jax.paths import is_same as is_same
from hyperface_jax.paths import is_stream as is_stream
from hyperface_jax.paths import path_of as path_of
from hyperface_jax.paths import was_written as was_written
from hyperface_jax.paths import without_links

PathLike = str | os.PathLike[str]
# What a file system takes, in bytes, less what the name of a temporary file adds.
_LONGEST_NAME = 200


def check_output(path: PathLike) -> None:
    """Checks that ``path`` can be written, before work whose result it is to hold.

    Raises:
      InputError: ``path`` is a folder, a disk or a socket, or its folder is a file or a
        link that leads nowhere.
      OSError: it, its folder, or where that would be made, can't be written to.
    """
    folder = check_place(path)
    if is_stream(path):
        return
    try:
        # Only trying tells of all that may be in the way.
        discard(_create_beside(folder / without_links(path).name))
    except OSError as error:
        raise type(error)(
            f"{folder}: can't be written to ({error.strerror or error}); name another "
            "folder"
        ) from None


def discard(path: PathLike) -> None:
    """Removes a file that is of no more use; where that is refused, it only warns."""
    try:
        pathlib.Path(path).unlink(missing_ok=True)
    except OSError as error:
        _warn_once(f"{os.fspath(path)}: can't be removed ({error.strerror or error})")


def check_place(path: PathLike) -> pathlib.Path:
    """The folder that exists and is written to first; see :func:`check_output`."""
    name = path_of(path)
    path = without_links(name)
    if name.endswith(("/", os.sep)) and not path.is_dir():
        raise InputError(f"{name}: the name of a folder, expected a file to write")
    if path.is_symlink() and not is_stream(path):
        raise InputError(f"{path}: a link that leads back to itself; remove it")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file to write")
    if path.is_block_device() or path.is_socket():
        what = "disk" if path.is_block_device() else "socket"
        raise InputError(f"{path}: is a {what}, expected a file to write")
    if is_stream(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(f"{path}: may not be written to; name a file")
        return path.parent
    folder = next(p for p in path.absolute().parents if os.path.lexists(p))
    if not folder.exists():
        raise InputError(f"{folder}: a link that leads nowhere; make what it leads to")
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file, expected a folder to write to")
    return folder


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
    check_place(path)
    path, through = without_links(path), is_stream(path)
    if through:
        handle, name = tempfile.mkstemp(suffix=path.suffix)
        os.close(handle)
        temporary = pathlib.Path(name)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _create_beside(path)
    try:
        yield temporary
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = os.fspath(path)  # of a full disk, the system says none
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
    path = without_links(path)
    _remove_matching(path.parent, *map(re.escape, _affixes(path)))


def remove_partials(folder: PathLike) -> None:
    """Removes every file in ``folder`` whose writing was ended by a kill.

    Only when no other process is writing there. A folder that is not there is fine.
    """
    if pathlib.Path(folder).is_dir():
        _remove_matching(pathlib.Path(folder), r"\..*-", r"\.partial(\..*)?")


def write_bytes(path: PathLike, content: bytes) -> None:
    """Writes ``content`` to ``path``, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: PathLike, text: str) -> None:
    """Writes ``text`` to ``path`` as UTF-8, whole or not at all.

    File names in it that are not UTF-8 become the bytes they are on the disk.
    """
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def write_lines(path: PathLike, lines: Iterable[str]) -> None:
    """Writes lines to ``path``, as :func:`write_text`; one is in memory at a time.

    Args:
      path: of the file.
      lines: each with its line end.
    """
    with atomic_path(path) as temporary:
        with open(
            temporary, "w", encoding="utf-8", errors="surrogateescape", newline=""
        ) as file:
            file.writelines(lines)


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
    return f".{short_stem(path)}-", f".partial{path.suffix}"


def short_stem(path: pathlib.Path) -> str:
    """The stem, or its beginning where a longer name would be refused."""
    short = len(os.fsencode(path.name)) <= _LONGEST_NAME
    return path.stem if short else path.stem[: _LONGEST_NAME // 8]


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
            discard(entry)


def _kept(temporary: pathlib.Path, path: pathlib.Path, error: OSError) -> OSError:
    """What to raise when a finished file could not become ``path``."""
    kept = temporary
    if temporary.parent == path.parent:
        # Under a name that nobody clears away.
        visible = path.with_name(f"{path.stem}-{secrets.token_hex(4)}{path.suffix}")
        for move in (os.rename, shutil.copyfile):
            with contextlib.suppress(OSError):
                move(temporary, visible)
                kept = visible
                break
        if kept != temporary:
            discard(temporary)
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
