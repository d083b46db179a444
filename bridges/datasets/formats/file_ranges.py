"""Parts of a file by position, for several threads and processes at a time."""

import os
import threading

# Bytes of one image at most; as of an image in a file of its own.
LARGEST_IMAGE = 2 * 2**30


class FileRanges:
    """Reads parts of one file, which it opens when the first is asked for.

    It pickles without the open file. Where the system reads at a position (all but
    Windows) nothing is shared between the threads or forks that read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def read(self, offset: int, size: int) -> bytes:
        """The ``size`` bytes from ``offset`` on, fewer where the file ends before.

        Raises:
          OSError: the file can't be opened or read.
        """
        if offset < 0 or size <= 0:
            return b""
        parts = []
        while size > 0:
            # The system may return less than it is asked for, 2 GiB at the most.
            part = self._read_once(offset, size)
            if not part:
                break
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def size(self) -> int:
        """The size of the file in bytes, as it is now."""
        return os.stat(self.path).st_size

    def __getstate__(self) -> str:
        return self.path

    def __setstate__(self, path: str) -> None:
        self.__init__(path)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            os.close(self._descriptor)

    def _read_once(self, offset: int, size: int) -> bytes:
        if not hasattr(os, "pread"):
            with open(self.path, "rb") as file:
                file.seek(offset)
                return file.read(size)
        if self._descriptor is None:
            with self._lock:
                if self._descriptor is None:
                    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
                    self._descriptor = os.open(self.path, flags)
        return os.pread(self._descriptor, size, offset)
