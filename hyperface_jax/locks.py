"""One writer at a time for an output, by a lock of the operating system.

The lock is released when the process ends, however it ends. What a kill leaves is an
empty lock file, which is no hindrance.
"""

import contextlib
import errno
import os
import pathlib
import warnings
from collections.abc import Iterator

from hyperface_jax import files
from hyperface_jax.errors import InputError
from hyperface_jax.paths import without_links

PathLike = str | os.PathLike[str]
# In a folder that is being written.
_IN_FOLDER = ".lock"
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


class HeldElsewhere(InputError):
    """Another process is writing the output."""


def lock_of(output: PathLike, *, is_folder: bool = False) -> pathlib.Path:
    """The lock file of an output: in the folder, or hidden beside the file."""
    if is_folder:
        return pathlib.Path(output) / _IN_FOLDER
    path = without_links(output)
    return path.with_name(f".{files.short_stem(path)}.lock")


@contextlib.contextmanager
def held(output: PathLike, *, is_folder: bool = False) -> Iterator[None]:
    """Holds an output while no other process does that asks for it.

    Removes what killed processes left half-written of it. On a file system that has no
    locks it warns, and goes on without.

    Args:
      output: the file or folder; nobody else writes to a device or a pipe, so these
        are not locked. Its folder is created when missing.
      is_folder: whether it is a folder.

    Raises:
      HeldElsewhere: another process holds it.
      InputError: its folder is a file.
    """
    if files.is_stream(output):
        yield
        return
    path = lock_of(output, is_folder=is_folder)
    files.check_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path, output):
        if is_folder:
            files.remove_partials(output)
        else:
            files.remove_partial(output)
        yield


@contextlib.contextmanager
def _locked(path: pathlib.Path, output: PathLike) -> Iterator[None]:
    # Here, because commands that only print their help import this module.
    import filelock

    # Not a lock that a kill would leave behind, where the file system has no other.
    lock = filelock.FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise HeldElsewhere(
            f"{output}: another process is writing it; wait for it, or name another "
            "output"
        ) from None
    except (OSError, NotImplementedError) as error:
        if getattr(error, "errno", None) in _NO_LOCK_FILE:
            raise
        reason = getattr(error, "strerror", None) or error
        warnings.warn(
            f"{path.parent}: its file system has no locks ({reason}); make sure that "
            f"no second command writes {output} meanwhile",
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
