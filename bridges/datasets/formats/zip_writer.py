"""Writing of a zip archive of images, stored and not deflated: images don't shrink.

In it are a folder an identity, ``metadata.jsonl`` and StyleGAN's ``dataset.json``.

Records by PKWARE's APPNOTE 6.3:
local headers (4.3.7), the central directory (4.3.12) and, where counts or offsets need
more than 16 or 32 bits, its 64-bit end (4.3.14 and 4.3.15).
"""

import pathlib
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bridges.datasets.dataset_format import METADATA
from bridges.datasets.formats.appended_file import AppendedFile
from bridges.datasets.formats.folder_writers import (
    IdentityNames,
    metadata_lines,
    stylegan_labels,
)
from bridges.datasets.formats.stylegan import LABELS_FILE
from bridges.datasets.formats.writer import ConvertedImage
from bridges.datasets.image_source import ImageSource
from hyperface_jax import InputError

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_VERSION, _VERSION_64 = 20, 45
# Names are UTF-8. No time: the first day that the format knows, so that the same images
# make the same bytes.
_UTF8, _DAY = 0x800, 0x21
_MOST_16, _MOST_32 = 0xFFFF, 0xFFFFFFFF


class ZipWriter:
    """Writes one archive, ``images`` in the working folder."""

    by_identity = False
    needs_labels = False
    keeps_records = False
    is_file = True

    def __init__(
        self, folder: pathlib.Path, source: ImageSource, state: dict[str, Any] | None
    ) -> None:
        self._source = source
        self._names = IdentityNames(source)
        self.keeps_records = source.labelled
        self.rows = state["rows"] if state else 0
        self._file = AppendedFile(folder / "images", state["size"] if state else 0)

    def write(self, image: ConvertedImage) -> None:
        """Adds the image of the next row."""
        self._member(self._names.of(image.row, image.suffix), image.content)
        self.rows = image.row + 1

    def checkpoint(self) -> dict[str, Any]:
        """Puts on the disk what was written; returns the state."""
        self._file.sync()
        return {"rows": self.rows, "size": self._file.size}

    def finish(self, tables: Mapping[str, Iterable[str]]) -> None:
        """Adds the tables and the list of members."""
        names = [name for _, name, *_ in self._members()]
        labels = stylegan_labels(self._source, names.__getitem__)
        members: dict[str, Iterable[str]] = {LABELS_FILE: [labels], **tables}
        if self._source.labelled:
            members[METADATA] = metadata_lines(self._source, names.__getitem__)
        for name, lines in members.items():
            self._member(name, "".join(lines).encode("utf-8", "surrogateescape"))
        start = self._file.size
        # Read from the local headers, so that a resumed run need not remember them.
        entries = [self._entry(*member) for member in self._members()]
        self._file.write(*entries)
        size, count = self._file.size - start, len(entries)
        if count >= _MOST_16 or start + size >= _MOST_32:
            place = self._file.write(
                _END_64.pack(
                    *(b"PK\6\6", _END_64.size - 12, _VERSION_64, _VERSION_64, 0, 0),
                    *(count, count, size, start),
                )
            )
            self._file.write(_LOCATOR.pack(b"PK\6\7", 0, place, 1))
        small = min(count, _MOST_16)
        start, size = min(start, _MOST_32), min(size, _MOST_32)
        self._file.write(_END.pack(b"PK\5\6", 0, 0, small, small, size, start, 0))
        self._file.sync()

    def close(self) -> None:
        self._file.close()

    def _member(self, name: str, content: bytes) -> None:
        if len(content) >= _MOST_32:
            raise InputError(f"{name}: {len(content):,} bytes, too many for a zip")
        encoded, size = name.encode(), len(content)
        fields = (_VERSION, _UTF8, 0, 0, _DAY, zlib.crc32(content), size, size)
        head = _LOCAL.pack(b"PK\3\4", *fields, len(encoded), 0)
        self._file.write(head, encoded, content)

    def _members(self) -> Iterator[tuple[int, str, int, int]]:
        """Offset, name, checksum and size of what was written."""
        offset, end = 0, self._file.size
        while offset < end:
            head = _LOCAL.unpack(self._file.read(offset, _LOCAL.size))
            crc, size, _, length, _ = head[6:]
            name = self._file.read(offset + _LOCAL.size, length).decode()
            yield offset, name, crc, size
            offset += _LOCAL.size + length + size

    def _entry(self, offset: int, name: str, crc: int, size: int) -> bytes:
        """A member's entry in the central directory."""
        encoded, extra, version = name.encode(), b"", _VERSION
        if offset >= _MOST_32:
            extra, version = struct.pack("<2HQ", 1, 8, offset), _VERSION_64
        fields = (version, version, _UTF8, 0, 0, _DAY, crc, size, size)
        lengths = (len(encoded), len(extra), 0, 0, 0, 0)
        head = _CENTRAL.pack(b"PK\1\2", *fields, *lengths, min(offset, _MOST_32))
        return head + encoded + extra
