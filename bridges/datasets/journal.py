"""A journal of finished work, a JSON object a line, that a kill can't spoil."""

import contextlib
import errno
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from bridges.datasets.dataset_format import to_json


class Journal:
    """An append-only file of entries; an incomplete last line is cut off on opening.

    Attributes:
      path: the file.
      entries: what was in it when it was opened.
    """

    def __init__(self, path: pathlib.Path) -> None:
        """Opens the file, or creates it.

        Args:
          path: of the file.
        """
        self.path = path
        # Windows would otherwise translate line ends.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._file = os.open(path, flags, 0o666)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self.close)
            self.entries, whole = read_entries(path)
            os.ftruncate(self._file, whole)
            on_failure.pop_all()

    def append(self, entry: Mapping[str, Any]) -> None:
        """Adds an entry, whole or not at all.

        Args:
          entry: JSON-ready or NumPy values.

        Raises:
          OSError: the disk is full.
        """
        line = (to_json(entry) + "\n").encode()
        written = os.write(self._file, line)
        if written != len(line):
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


def read_entries(path: pathlib.Path) -> tuple[list[dict[str, Any]], int]:
    """The entries up to the first line that is none, and the length of their lines.

    Args:
      path: of the file, which exists.
    """
    entries, whole = [], 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            entry = json.loads(line) if line.endswith(b"\n") else None
        except (ValueError, RecursionError):
            break
        if not isinstance(entry, dict):
            break
        entries.append(entry)
        whole += len(line)
    return entries, whole
