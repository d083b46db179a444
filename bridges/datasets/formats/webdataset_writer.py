"""Writing of WebDataset; :mod:`bridges.datasets.formats.webdataset` describes it."""

import pathlib
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

from bridges.datasets.dataset_format import to_json
from bridges.datasets.formats.appended_file import AppendedFile
from bridges.datasets.formats.writer import ConvertedImage
from bridges.datasets.image_source import ImageSource
from hyperface_jax import files

# A shard has at most so many images, and is full at so many bytes.
_SHARD_IMAGES = 10_000
_SHARD_BYTES = 1 << 30
_BLOCK = 512


class WebDatasetWriter:
    """Writes ``faces-000000.tar`` and so on."""

    by_identity = False
    needs_labels = False
    keeps_records = True
    is_file = False

    def __init__(
        self, folder: pathlib.Path, source: ImageSource, state: dict[str, Any] | None
    ) -> None:
        self._folder = folder
        self._identities = source.identities
        self.rows = state["rows"] if state else 0
        self._number = state["shard"] if state else 0
        self._images = state["images"] if state else 0
        self._file = AppendedFile(self._path(), state["size"] if state else 0)

    def write(self, image: ConvertedImage) -> None:
        """Adds the image of the next row."""
        if self._images >= _SHARD_IMAGES or self._file.size >= _SHARD_BYTES:
            self._end()
            self._number, self._images = self._number + 1, 0
            self._file = AppendedFile(self._path(), 0)
        key, record = f"{image.row:08d}", dict(image.record)
        if image.label is not None:
            record["label"] = image.label
            record["identity"] = self._identities[image.label]
        self._member(f"{key}{image.suffix}", image.content)
        if image.label is not None:
            self._member(f"{key}.cls", str(image.label).encode())
        self._member(f"{key}.json", to_json(record).encode())
        self._images += 1
        self.rows = image.row + 1

    def checkpoint(self) -> dict[str, Any]:
        """Puts on the disk what was written; returns the state."""
        self._file.sync()
        return {
            "rows": self.rows,
            "shard": self._number,
            "images": self._images,
            "size": self._file.size,
        }

    def finish(self, tables: Mapping[str, Iterable[str]]) -> None:
        """Ends the last shard and writes the tables."""
        self._end()
        for name, lines in tables.items():
            files.write_lines(self._folder / name, lines)

    def close(self) -> None:
        self._file.close()

    def _path(self) -> pathlib.Path:
        return self._folder / f"faces-{self._number:06d}.tar"

    def _member(self, name: str, content: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        # No time and no owner: the same images make the same bytes.
        head = info.tobuf(tarfile.GNU_FORMAT)
        self._file.write(head, content, bytes(-len(content) % _BLOCK))

    def _end(self) -> None:
        self._file.write(bytes(2 * _BLOCK))
        self._file.sync()
        self._file.close()
