"""A file that grows, and is cut back to what was safe when it is opened again."""

import os
import pathlib

from hyperface_jax import InputError


class AppendedFile:
    """Writes to the end of a file.

    Attributes:
      size: bytes so far.
    """

    def __init__(self, path: pathlib.Path, size: int) -> None:
        """Opens or creates the file, ``size`` bytes of which count.

        Raises:
          InputError: it is shorter: the state is of another file.
        """
        found = path.stat().st_size if path.exists() else 0
        if found < size:
            raise InputError(
                f"{path}: {found:,} bytes, {size:,} were safe before; it was changed, "
                "remove the unfinished output and convert again"
            )
        path.touch()
        self._file = open(path, "r+b")
        self._file.truncate(size)
        self._file.seek(size)
        self.size = size

    def write(self, *parts: bytes) -> int:
        """Appends; returns where the first byte went."""
        start = self.size
        try:
            for part in parts:
                self._file.write(part)
                self.size += len(part)
        except OSError as error:
            # Of a full disk the system says no name.
            error.filename = error.filename or self._file.name
            raise
        return start

    def sync(self) -> None:
        """Puts everything on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def read(self, offset: int, size: int) -> bytes:
        """Bytes written before."""
        self._file.flush()
        self._file.seek(offset)
        content = self._file.read(size)
        self._file.seek(self.size)
        return content

    def close(self) -> None:
        self._file.close()
