"""A plain tree: a folder a person, images as they are."""

import os
import pathlib
from typing import Any


class TreeWriter:
    """Writes image files, each whole or not at all, and passes over those there.

    Attributes:
      done: 0: files that are there with the same size are not written again.
    """

    done = 0

    def __init__(self, folder: pathlib.Path) -> None:
        """Starts.

        Args:
          folder: it exists.
        """
        self._folder = folder

    def write(self, content: bytes, label: int, record: dict[str, Any]) -> None:
        """Adds an image.

        Args:
          content: encoded.
          label: unused: the folder says who it is.
          record: ``file_name`` is the path below the folder.
        """
        del label
        path = self._folder / record["file_name"]
        if path.is_file() and path.stat().st_size == len(content):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(content)
        os.replace(partial, path)

    def finish(self, labels: list[int], names: list[str]) -> None:
        """Nothing is left to do.

        Args:
          labels: unused.
          names: unused.
        """

    def close(self) -> None:
        """Nothing is open."""
