"""Outputs that can be interrupted: whose they are, who writes them, what is left over.

A command that is started again asks the same questions of its output each time. Is it
finished, and with the settings asked for now? Is another process writing it? What did a
kill leave behind? :class:`Output` answers them in one order for every file and folder
of the project:

1. Look without the lock: a finished output is returned at once, and one of other
   settings is refused before any work.
2. Take the lock, or refuse: another process is writing.
3. Look again, since until then another process may have been writing.
4. Do the work, finish, and remove what only an unfinished output needs.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from hyperface_jax import files, locks
from hyperface_jax.errors import InputError
from hyperface_jax.locks import HeldElsewhere as HeldElsewhere

T = TypeVar("T")
PathLike = str | os.PathLike[str]
# Longer values are digests, which say nothing to a reader.
_READABLE = 40
_REMEDY = "give another output or remove this one"


class Output(Generic[T]):
    """A file or folder that takes long to make.

    Attributes:
      path: where it is.
    """

    def __init__(
        self,
        path: PathLike,
        find: Callable[[], T | None],
        *,
        is_folder: bool = False,
        leftovers: Sequence[PathLike] = (),
    ) -> None:
        """Describes an output; touches nothing.

        Args:
          path: the file, or the folder. A device or a pipe is neither looked into nor
            locked.
          find: reads what a finished run left at ``path``; returns None when nothing
            is there or it is unfinished, and raises InputError when it is of other
            settings or not ours.
          is_folder: whether ``path`` is a folder.
          leftovers: files that only an unfinished output needs, such as checkpoints.
        """
        self.path = pathlib.Path(path)
        self._find = find
        self._is_folder = is_folder
        self._leftovers = [pathlib.Path(each) for each in leftovers]

    def make(self, work: Callable[[], T]) -> T:
        """What is at :attr:`path` already, or else what ``work`` returns.

        Args:
          work: makes the output and returns it; called with the lock held.

        Raises:
          InputError: an output of other settings, or one that another process writes.
        """
        found = self.finished()
        if found is not None:
            return found
        with self.writing() as found:
            if found is None:
                found = work()
                self.clean_up()
            return found

    def finished(self) -> T | None:
        """What a finished run left at :attr:`path`, or None.

        A kill between finishing and cleaning up leaves checkpoints behind; they are
        removed, unless they are newer, and so of a run that is to replace the output,
        or another process holds it.

        Raises:
          InputError: an output of other settings.
        """
        if files.is_stream(self.path):
            return None
        found = self._find()
        lock = locks.lock_of(self.path, is_folder=self._is_folder)
        if found is not None and any(map(self._is_stale, [*self._leftovers, lock])):
            with contextlib.suppress(InputError, OSError), self._held():
                self.clean_up()
        return found

    @contextlib.contextmanager
    def writing(self) -> Iterator[T | None]:
        """Holds the output, and removes what a kill left half-written of it.

        Yields:
          What another process finished since :meth:`finished` was asked, or None.

        Raises:
          HeldElsewhere: another process is writing it.
        """
        if files.is_stream(self.path):
            yield None
            return
        with self._held():
            yield self._find()

    def clean_up(self) -> None:
        """Removes the leftovers; to be called once the output is finished, and held."""
        for path in self._leftovers:
            files.discard(path)
            files.remove_partial(path)

    def _held(self) -> contextlib.AbstractContextManager[None]:
        return locks.held(self.path, is_folder=self._is_folder)

    def _is_stale(self, leftover: pathlib.Path) -> bool:
        exists = os.path.lexists(leftover)
        return exists and leftover.lstat().st_mtime <= self.path.stat().st_mtime


def check_same_settings(
    place: PathLike,
    found: Mapping[str, Any],
    wanted: Mapping[str, Any],
    *,
    remedy: str = _REMEDY,
) -> None:
    """Checks that what is in ``place`` was made with the settings asked for now.

    Args:
      place: for the message.
      found: the settings recorded there.
      wanted: those asked for.
      remedy: what the message ends with.

    Raises:
      InputError: they differ; names the first setting that does, by the alphabet.
    """
    for key in sorted({*found, *wanted}):
        old, new = found.get(key), wanted.get(key)
        if old == new:
            continue
        if key not in found or key not in wanted:
            difference = f"made with other settings ({key})"
        elif _readable(old) and _readable(new):
            difference = f"made with {key} = {old!r}, asked for {new!r}"
        else:
            difference = f"made with other {key}"
        raise InputError(f"{os.fspath(place)}: {difference}; {remedy}")


def check_vacant(folder: PathLike, sign: str, what: str) -> None:
    """Checks that a folder without ``sign`` holds nothing at all of anybody's.

    Args:
      folder: may be missing.
      sign: the file by which a folder of ours is known.
      what: that kind of folder, for the message: ``"dataset"``.

    Raises:
      InputError: a file, or a folder that holds something.
    """
    folder = pathlib.Path(folder)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file, expected a folder to write to")
    present = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    if present:
        raise InputError(
            f"{folder}: holds {present[0]!r} but no {sign}, so it isn't a {what} of "
            "ours; give a new or empty folder"
        )


def read_json(path: PathLike) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
      InputError: a folder, not JSON, or no object.
    """
    try:
        value = json.loads(pathlib.Path(path).read_text("utf-8-sig"))
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, expected a JSON file") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds {type(value).__name__}, expected an object")
    return value


def _readable(value: Any) -> bool:
    return not isinstance(value, Mapping) and len(repr(value)) <= _READABLE
