"""Writing of RecordIO; :mod:`bridges.datasets.formats.recordio` describes it."""

import pathlib
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bridges.datasets.decoding import size_of
from bridges.datasets.formats.appended_file import AppendedFile
from bridges.datasets.formats.recordio import (
    FIRST,
    HEADER,
    LAST,
    LENGTH_BITS,
    MAGIC,
    MIDDLE,
    WHOLE,
)
from bridges.datasets.formats.writer import ConvertedImage
from bridges.datasets.image_source import ImageSource
from hyperface_jax import InputError, files

_FILES = ("train.rec", "train.idx", "train.lst")
# Labels are float32, which holds all whole numbers up to here.
_MOST = 1 << 24


class RecordIOWriter:
    """Writes ``train.rec``, ``train.idx``, ``train.lst`` and ``property``.

    As insightface does: record 0 says how many images there are, images have the keys
    from 1 on, and a record a person behind them says which are theirs.
    """

    by_identity = True
    needs_labels = True
    keeps_records = False
    is_file = False

    def __init__(
        self, folder: pathlib.Path, source: ImageSource, state: dict[str, Any] | None
    ) -> None:
        if len(source) + 1 + len(source.identities) > _MOST:
            raise InputError(
                f"{source.name}: {len(source):,} images of {len(source.identities):,} "
                f"people; RecordIO numbers at most {_MOST:,}; take another format"
            )
        self._folder = folder
        self._counts = np.bincount(source.labels, minlength=len(source.identities))
        self.rows = state["rows"] if state else 0
        self._side = state["side"] if state else None
        sizes = state["sizes"] if state else [0, 0, 0]
        self._files = [
            AppendedFile(folder / name, size)
            for name, size in zip(_FILES, sizes, strict=True)
        ]
        if not state:
            n, k = len(source), len(source.identities)
            self._record(0, struct.pack("<ff", n + 1, n + 1 + k), b"", flag=2)

    def write(self, image: ConvertedImage) -> None:
        """Adds the image of the next row."""
        key = image.row + 1
        if self._side is None:
            self._side = size_of(image.content)
        self._record(key, b"", image.content, label=image.label)
        # A tab or a line break in a name would be a column or a line of its own.
        name = " ".join(str(image.record["file_name"]).split("\t"))
        name = " ".join(name.splitlines())
        line = f"{key}\t{image.label}\t{name}\n"
        self._files[2].write(line.encode("utf-8", "surrogateescape"))
        self.rows = image.row + 1

    def checkpoint(self) -> dict[str, Any]:
        """Puts on the disk what was written; returns the state."""
        for file in self._files:
            file.sync()
        sizes = [file.size for file in self._files]
        return {"rows": self.rows, "sizes": sizes, "side": self._side}

    def finish(self, tables: Mapping[str, Iterable[str]]) -> None:
        """Adds the records of the people and the tables."""
        start = 1
        for number, count in enumerate(self._counts.tolist()):
            labels = struct.pack("<ff", start, start + count)
            self._record(self.rows + 1 + number, labels, b"", flag=2)
            start += count
        for file in self._files:
            file.sync()
        width, height = self._side or (112, 112)
        files.write_text(
            self._folder / "property", f"{len(self._counts)},{height},{width}\n"
        )
        for name, lines in tables.items():
            files.write_lines(self._folder / name, lines)

    def close(self) -> None:
        for file in self._files:
            file.close()

    def _record(
        self, key: int, labels: bytes, image: bytes, *, flag: int = 0, label: float = 0
    ) -> None:
        payload = HEADER.pack(flag, label, key, 0) + labels + image
        offset = self._files[0].write(*_framed(payload))
        self._files[1].write(f"{key}\t{offset}\n".encode())


def _framed(payload: bytes) -> list[bytes]:
    """The records of a payload, split where it holds the magic."""
    pieces, start, at = [], 0, payload.find(MAGIC)
    while at >= 0:
        if at % 4:
            at = payload.find(MAGIC, at + 1)
            continue
        pieces.append(payload[start:at])
        start = at + len(MAGIC)
        at = payload.find(MAGIC, start)
    pieces.append(payload[start:])
    written = []
    for number, piece in enumerate(pieces):
        if len(piece) >> LENGTH_BITS:
            raise InputError(f"an image of {len(payload):,} bytes is too large")
        kind = MIDDLE
        if number in (0, len(pieces) - 1):
            kind = FIRST if number == 0 else LAST
        if len(pieces) == 1:
            kind = WHOLE
        word = struct.pack("<I", kind << LENGTH_BITS | len(piece))
        written += [MAGIC, word, piece, bytes(-len(piece) % 4)]
    return written
