"""RecordIO of MXNet, as insightface's and CVLface's training sets are packed.

::

    train.rec    records: magic u32, kind (3 bits), length (29 bits), payload, padding
    train.idx    a line a record: key, tab, offset
    train.lst    a line an image: key, label, path, with tabs between; or train.tsv:
                 key, path, label
    property     classes,height,width

The payload of an image is a header (flag u32, label f32, id u64, id2 u64; where flag
is positive as many f32 labels follow) and the encoded image. A payload that holds the
magic at a multiple of four bytes is split there into several records, without the
magic. In insightface's files record 0 has no image: its first label is one more than
the number of images, which have the keys from 1 on; the records behind them say which
keys a person has. Other writers leave that record out. Little-endian throughout.
"""

import os
import pathlib
import re
import struct
from typing import NamedTuple

from bridges.datasets.formats.file_ranges import FileRanges
from bridges.datasets.formats.packed_images import PackedImages, check_file
from hyperface_jax import InputError
from hyperface_jax.commands import progress

MAGIC = struct.pack("<I", 0xCED7230A)
WHOLE, FIRST, MIDDLE, LAST = range(4)
LENGTH_BITS = 29
HEADER = struct.Struct("<IfQQ")
_FRAME = struct.Struct("<4sI")
# Labels of one image; more are no labels.
_MOST_LABELS = 10_000
# Bytes read at once while records are listed: their headers, not their images.
_AHEAD = 128
# A key or an offset; lines may end as on Windows.
_NUMBER = re.compile(r" *[0-9]{1,19}[ \r]*")


class _Record(NamedTuple):
    """Where the parts of a payload are: ``(offset, length)``, and where it ends."""

    parts: tuple[tuple[int, int], ...]
    end: int

    @property
    def length(self) -> int:
        """Of the payload, with the magic between the parts."""
        between = len(MAGIC) * (len(self.parts) - 1)
        return sum(length for _, length in self.parts) + between


class RecordIO(PackedImages):
    """A RecordIO file of images and labels; an image source."""

    def __init__(
        self, path: str | os.PathLike[str], *, identity_from: str | None = None
    ) -> None:
        """Lists the records; decodes no image.

        Args:
          path: the ``.rec`` file, or a folder with one. The index beside it is used
            where there is one; without it the file is read through.
          identity_from: ignored, the records say who is who.

        Raises:
          InputError: damaged or truncated, or an index of another file.
        """
        del identity_from
        path = pathlib.Path(path)
        if path.is_dir():
            path = _only_record_file(path)
        path = check_file(path)
        self._file = FileRanges(path)
        lister = _Lister(self._file)
        index = path.with_suffix(".idx")
        keys = _read_index(index) if index.is_file() else None
        records = lister.all_records(index, keys)
        keys = range(len(records)) if keys is None else [key for key, _ in keys]
        self._images: list[tuple[_Record, int]] = []
        names, who, listed = _read_list(path), [], []
        last, skipped = None, []
        for key, record in zip(keys, records, strict=True):
            label, skip = lister.label_of(record, key)
            if key == 0 and skip is None:
                # The header; the count of images is in its first label.
                last = label - 1
                continue
            if skip is None or (last is not None and key > last):
                skipped.append(str(key))
                continue
            who.append(label)
            listed.append({"file_name": names.get(key, f"{key:08d}")})
            self._images.append((record, skip))
        if last is not None and len(who) != last:
            raise InputError(
                f"{path}: its first record promises {last:,} images, there are "
                f"{len(who):,}; the file is incomplete or its index is of another"
            )
        super().__init__(path, [path], listed, who, tables=path.parent)
        if skipped and last is None:
            self.left_out["records without an image"] = skipped

    def _content(self, index: int) -> bytes:
        record, skip = self._images[index]
        content = _payload(self._file, record)
        if len(content) != record.length:
            raise self.unreadable_image(index, "the file ends before the image does")
        return content[skip:]


def _payload(file: FileRanges, record: _Record) -> bytes:
    # The magic between the parts was taken out by the writer.
    return MAGIC.join(file.read(offset, length) for offset, length in record.parts)


class _Lister:
    """Finds the records of a file."""

    def __init__(self, file: FileRanges) -> None:
        self._file = file
        self._size = file.size()
        self._start, self._ahead = 0, b""

    def all_records(
        self, index: pathlib.Path, keys: list[tuple[int, int]] | None
    ) -> list[_Record]:
        """The records in the order of ``keys``, or of the file without them."""
        found: dict[int, _Record] = {}
        offset = 0
        with progress(description="listing records", total=self._size, unit="B") as bar:
            while offset < self._size:
                record = self._record(offset)
                found[offset] = record
                bar.update(record.end - offset)
                offset = record.end
        if keys is None:
            return list(found.values())
        stray = next((pair for pair in keys if pair[1] not in found), None)
        if stray is not None:
            key, offset = stray
            what = (
                f"past the end of {os.path.basename(self._file.path)}, which has "
                f"{self._size:,} bytes"
                if offset >= self._size
                else f"where no record of {os.path.basename(self._file.path)} begins"
            )
            raise InputError(
                f"{index}: key {key} points to byte {offset:,}, {what}; the index is "
                "of another file or damaged, remove it to read the records without"
            )
        named = len({offset for _, offset in keys})
        if not named == len(keys) == len(found):
            raise InputError(
                f"{index}: names {named:,} records, {self._file.path} has "
                f"{len(found):,}; the index is of another file or truncated, remove it "
                "to read the records without"
            )
        return [found[offset] for _, offset in keys]

    def label_of(self, record: _Record, key: int) -> tuple[int, int | None]:
        """The label of a record, and how many bytes come before its image, or None."""
        length = record.length
        if length < HEADER.size:
            raise self._refused(record, f"record {key} is too short for a header")
        # The header of a split payload may reach over the split.
        start = record.parts[0][0]
        many = len(record.parts) > 1
        head = _payload(self._file, record) if many else self._bytes(start, HEADER.size)
        flag, label, _, _ = HEADER.unpack_from(head)
        skip = HEADER.size
        if flag:
            skip += 4 * flag
            if flag > _MOST_LABELS or skip > length:
                raise self._refused(record, f"record {key} claims {flag:,} labels")
            if not many:
                head = self._bytes(start, skip)
            (label,) = struct.unpack_from("<f", head, HEADER.size)
        if not (label == label and abs(label) < 2**53 and label == int(label)):
            raise self._refused(
                record, f"record {key} has label {label!r}, expected a whole number"
            )
        return int(label), skip if length > skip else None

    def _record(self, offset: int) -> _Record:
        """The record, of one part or more, that begins at ``offset``."""
        begin, parts = offset, []
        while True:
            frame = self._bytes(offset, _FRAME.size)
            if len(frame) < _FRAME.size:
                raise self._torn(begin)
            magic, word = _FRAME.unpack(frame)
            kind, length = word >> LENGTH_BITS, word & (1 << LENGTH_BITS) - 1
            expected = (WHOLE, FIRST) if not parts else (MIDDLE, LAST)
            if magic != MAGIC or kind not in expected:
                raise InputError(
                    f"{self._file.path}: no RecordIO record at byte {offset:,}; the "
                    "file is damaged or of another format, fetch it again"
                )
            parts.append((offset + _FRAME.size, length))
            offset += _FRAME.size + length
            if offset > self._size:
                raise self._torn(begin)
            # The last record may lack its padding.
            offset = min(offset + -length % 4, self._size)
            if kind in (WHOLE, LAST):
                return _Record(tuple(parts), offset)

    def _bytes(self, offset: int, size: int) -> bytes:
        """Bytes of the file, of which more are read ahead: records are small."""
        at = offset - self._start
        if at < 0 or at + size > len(self._ahead):
            self._ahead = self._file.read(offset, max(size, _AHEAD))
            self._start, at = offset, 0
        return self._ahead[at : at + size]

    def _torn(self, offset: int) -> InputError:
        return InputError(
            f"{self._file.path}: ends in the middle of the record at byte {offset:,}; "
            "the file is truncated, fetch it again"
        )

    def _refused(self, record: _Record, what: str) -> InputError:
        offset = record.parts[0][0] - _FRAME.size
        return InputError(
            f"{self._file.path}: {what} (byte {offset:,}); the file is damaged or "
            "holds something else than labelled images"
        )


def _only_record_file(folder: pathlib.Path) -> pathlib.Path:
    found = sorted(folder.glob("*.rec"))
    if len(found) != 1:
        named = ", ".join(path.name for path in found[:3]) or "none"
        raise InputError(f"{folder}: {len(found)} .rec files ({named}); give one")
    return found[0]


def _read_index(path: pathlib.Path) -> list[tuple[int, int]]:
    """Keys and offsets in the order of the keys."""
    found: dict[int, int] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) != 2 or not all(map(_is_number, fields)):
            raise InputError(
                f"{path}: line {number} is not a key, a tab and an offset; the index "
                "is damaged, remove it to read the records without"
            )
        key, offset = map(int, fields)
        if key in found:
            raise InputError(f"{path}: key {key} is there twice; remove the index")
        found[key] = offset
    return sorted(found.items())


def _read_list(path: pathlib.Path) -> dict[int, str]:
    """Paths of the images by key, from the list beside the records, if there is one."""
    for suffix, position in ((".lst", -1), (".tsv", 1)):
        listing = path.with_suffix(suffix)
        if not listing.is_file():
            continue
        names: dict[int, str] = {}
        for line in _lines(listing):
            fields = line.split("\t")
            # Lists of other tools have other columns; theirs give no names.
            if len(fields) >= 3 and _is_number(fields[0]) and fields[position]:
                names[int(fields[0])] = fields[position]
        if len(set(names.values())) == len(names):
            return names
    return {}


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _lines(path: pathlib.Path) -> list[str]:
    # Names of files need not be UTF-8.
    return path.read_text("utf-8-sig", "surrogateescape").split("\n")
