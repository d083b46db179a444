"""MXNet's RecordIO, as insightface keeps training sets: read and written without MXNet.

::

    train.rec      records: magic, length, content, filled up to 4 bytes
    train.idx      a line a record: its key, a tab, its offset in train.rec
    train.lst      a line an image: its key, label and path, parted by tabs
    property       number of people, height and width, with commas

The content of a record is a header, ``flag, label, id, id2``, and an encoded image;
with a flag above 0 as many labels lie between them. Where content has the magic number
at a multiple of 4 bytes it is cut there into parts. In insightface's files record 0 has
no image, and its first label is the key behind the last image; others have none such.
"""

import os
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from bridges.datasets.formats.stored_images import (
    LARGEST_IMAGE,
    FilePart,
    StoredImages,
    named,
)
from hyperface_jax import InputError, files

SUFFIX = ".rec"
MAGIC = struct.pack("<I", 0xCED7230A)
HEADER = struct.Struct("<IfQQ")
_LENGTH_BITS = 29
_LONGEST = 2**_LENGTH_BITS - 1
# In a float32 larger whole numbers run together.
MOST_PEOPLE = 2**24
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_REMEDY = "copy train.rec and train.idx of one set again"


class RecordFile(StoredImages):
    """The images of a ``.rec`` file."""

    def __init__(
        self, path: str | os.PathLike[str], *, identity_from: str = ""
    ) -> None:
        """Reads the index, or without one looks through the file, and all labels.

        Args:
          path: the file, or a folder with one.
          identity_from: ignored: labels say who is on an image.

        Raises:
          InputError: no such file, a damaged one, or an index of another file.
        """
        del identity_from
        self._path = only_file(pathlib.Path(files.path_of(path)), SUFFIX)
        self._file = FilePart(self._path)
        self._size = self._path.stat().st_size
        index = self._path.with_suffix(".idx")
        if index.is_file():
            keys, offsets = self._indexed(index)
        else:
            offsets = [offset for offset, _ in self._scan()]
            keys = list(range(len(offsets)))
        at = dict(zip(keys, offsets, strict=True))
        chosen = self._keys_of_images(keys, at)
        labels = [self._label(key, at[key]) for key in chosen]
        self._offsets = [at[key] for key in chosen]
        names = [f"{key:08d}" for key in chosen]
        super().__init__(self._path, names, named(labels, self._path.parent))

    def read(self, index: int) -> bytes:
        """The encoded bytes of an image."""
        try:
            content, _ = self._record(self._offsets[index])
            return content[_image_at(content) :]
        except InputError as error:
            raise self.unreadable_image(index, str(error)) from None

    def _indexed(self, index: pathlib.Path) -> tuple[list[int], list[int]]:
        keys, offsets = [], []
        for number, line in enumerate(index.read_bytes().splitlines(), start=1):
            try:
                key, offset = (int(part) for part in line.split(b"\t"))
            except ValueError:
                raise InputError(
                    f"{index}: line {number} is no key, tab and offset; {_REMEDY}"
                ) from None
            if not 0 <= offset <= self._size - 8:
                raise InputError(
                    f"{index}: line {number} points to byte {offset:,}, behind the end "
                    f"of {self._path.name} of {self._size:,}; {_REMEDY}"
                )
            keys.append(key)
            offsets.append(offset)
        if len(set(keys)) < len(keys):
            raise InputError(f"{index}: a key on two lines; {_REMEDY}")
        return keys, offsets

    def _keys_of_images(self, keys: list[int], at: dict[int, int]) -> list[int]:
        """The keys of images, ascending, without those of what describes the file."""
        if not keys:
            raise InputError(f"{self._path}: no images in it")
        first = min(keys)
        content, _ = self._record(at[first])
        flag, label = HEADER.unpack_from(content)[:2]
        is_header = flag > 0 and _image_at(content) == len(content)
        if not is_header:
            return sorted(keys)
        end = struct.unpack_from("<f", content, HEADER.size)[0] if flag else label
        if not np.isfinite(end) or end != int(end):
            raise InputError(
                f"{self._path}: record {first} has a header of another kind"
            )
        return [key for key in sorted(keys) if first < key < int(end)]

    def _label(self, key: int, offset: int) -> int:
        # Enough for the header and its first label.
        start = self._file.read(offset, 8 + HEADER.size + 4)
        if start[:4] != MAGIC or len(start) < 8 + HEADER.size:
            raise InputError(
                f"{self._path}: no record at byte {offset:,}, where its index has "
                f"{key}; {_REMEDY}"
            )
        flag, label = HEADER.unpack_from(start, 8)[:2]
        if flag > 0:
            if len(start) < 8 + HEADER.size + 4:
                raise InputError(f"{self._path}: record {key} is cut off; {_REMEDY}")
            (label,) = struct.unpack_from("<f", start, 8 + HEADER.size)
        if not np.isfinite(label) or label != int(label):
            raise InputError(
                f"{self._path}: record {key} has the label {label}, expected a whole "
                "number for each person"
            )
        return int(label)

    def _scan(self) -> Iterator[tuple[int, int]]:
        """Offsets of all records, and of what is behind each."""
        offset = 0
        while offset < self._size:
            end = self._end(offset)
            yield offset, end
            offset = end

    def _end(self, offset: int) -> int:
        """Where the record at ``offset`` ends, by the lengths of its parts."""
        while True:
            kind, length = self._part(offset)
            offset += 8 + length + -length % 4
            if kind in (_WHOLE, _LAST):
                return offset

    def _part(self, offset: int) -> tuple[int, int]:
        """Kind and length of the part of a record at ``offset``."""
        start = self._file.read(offset, 8)
        if len(start) < 8 or start[:4] != MAGIC:
            raise InputError(
                f"{self._path}: no record at byte {offset:,}; damaged, or its index is "
                f"of another file; {_REMEDY}"
            )
        (word,) = struct.unpack_from("<I", start, 4)
        kind, length = word >> _LENGTH_BITS, word & _LONGEST
        if kind > _LAST or offset + 8 + length > self._size:
            raise InputError(
                f"{self._path}: the record at byte {offset:,} is cut off; {_REMEDY}"
            )
        return kind, length

    def _record(self, offset: int) -> tuple[bytes, int]:
        """The content of the record at ``offset``, and where it ends."""
        parts, total = [], 0
        while True:
            kind, length = self._part(offset)
            total += length
            if total > LARGEST_IMAGE:
                raise InputError(f"{self._path}: a record of more than 256 MiB")
            parts.append(self._file.read(offset + 8, length))
            offset += 8 + length + -length % 4
            if kind in (_WHOLE, _LAST):
                content = MAGIC.join(parts)
                if len(content) < HEADER.size:
                    raise InputError(
                        f"{self._path}: a record without header; {_REMEDY}"
                    )
                return content, offset


class RecordWriter:
    """Writes ``train.rec`` and what belongs to it, and goes on where it stopped.

    Attributes:
      done: how many images are there already.
    """

    def __init__(self, folder: pathlib.Path, *, num_people: int) -> None:
        """Opens the file.

        Args:
          folder: it exists.
          num_people: how many there will be.

        Raises:
          InputError: more than a float32 can number.
        """
        if num_people > MOST_PEOPLE:
            raise InputError(
                f"{num_people:,} people, and RecordIO can number {MOST_PEOPLE:,}"
            )
        self._folder, self._num_people = folder, num_people
        self._part = folder / "train.rec.partial"
        self._offsets = self._whole_records()
        self._file = open(self._part, "ab")
        self._file.truncate(self._end)
        self._sizes: set[tuple[int, int]] = set()
        if not self._offsets:
            # Its labels are set right by finish(); their length stays.
            self._append(_header(0, 0))
        self.done = len(self._offsets) - 1

    def write(self, content: bytes, label: int, record: dict[str, Any]) -> None:
        """Adds an image.

        Args:
          content: encoded.
          label: the number of the person.
          record: unused: there is no place for it.
        """
        del record
        key = len(self._offsets)
        self._append(HEADER.pack(0, float(label), key, 0) + content)

    def finish(self, labels: list[int], names: list[str]) -> None:
        """Writes index, list and property, and gives the file its name.

        Args:
          labels: of all images.
          names: of all images.
        """
        end = len(self._offsets)
        self._file.close()
        with open(self._part, "r+b") as file:
            file.write(_framed(_header(end, end + self._num_people)))
            file.flush()
            os.fsync(file.fileno())
        index = "".join(f"{key}\t{at}\n" for key, at in enumerate(self._offsets))
        files.write_text(self._folder / "train.idx", index)
        lines = zip(range(1, end), labels, names, strict=True)
        text = "".join(f"{key}\t{label}\t{name}\n" for key, label, name in lines)
        files.write_text(self._folder / "train.lst", text)
        files.write_text(self._folder / "property", f"{self._num_people},112,112\n")
        os.replace(self._part, self._folder / "train.rec")

    def close(self) -> None:
        """Closes the file; what is whole in it stays."""
        self._file.close()

    def _append(self, content: bytes) -> None:
        self._offsets.append(self._end)
        framed = _framed(content)
        self._file.write(framed)
        self._end += len(framed)

    def _whole_records(self) -> list[int]:
        """Offsets of the records that an earlier run has written whole."""
        self._end = 0
        if not self._part.is_file():
            return []
        reader = RecordFile.__new__(RecordFile)
        reader._path, reader._size = self._part, self._part.stat().st_size
        reader._file = FilePart(self._part)
        offsets = []
        try:
            for offset, end in reader._scan():
                if end > reader._size:
                    break
                offsets.append(offset)
                self._end = end
        except InputError:
            pass
        return offsets


def only_file(path: pathlib.Path, suffix: str) -> pathlib.Path:
    """The file itself, or the only one of its suffix in a folder.

    Raises:
      InputError: none, or several.
    """
    if path.is_file():
        return path
    found = sorted(path.glob(f"*{suffix}")) if path.is_dir() else []
    if len(found) != 1:
        what = f"{len(found)} {suffix} files" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {what}; give one {suffix} file")
    return found[0]


def _header(end: int, people_end: int) -> bytes:
    """The content of record 0: the key behind the last image, and behind the people."""
    return HEADER.pack(2, 0.0, 0, 0) + struct.pack("<2f", end, people_end)


def _image_at(content: bytes) -> int:
    """Where the image begins in the content of a record."""
    (flag,) = struct.unpack_from("<I", content)
    return min(len(content), HEADER.size + 4 * flag)


def _framed(content: bytes) -> bytes:
    """A record: its content in as many parts as it has magic numbers, and one more."""
    cuts, at = [], content.find(MAGIC)
    while at >= 0:
        if at % 4 == 0:
            cuts.append(at)
        at = content.find(MAGIC, at + (4 if at % 4 == 0 else 1))
    starts = [0, *(cut + 4 for cut in cuts)]
    parts = [content[a:b] for a, b in zip(starts, [*cuts, len(content)], strict=True)]
    framed = []
    for number, part in enumerate(parts):
        kind = _MIDDLE
        if len(parts) == 1:
            kind = _WHOLE
        elif number == 0:
            kind = _FIRST
        elif number == len(parts) - 1:
            kind = _LAST
        if len(part) > _LONGEST:
            raise InputError("an image of more than 512 MiB does not fit a record")
        word = struct.pack("<I", kind << _LENGTH_BITS | len(part))
        framed.append(MAGIC + word + part + bytes(-len(part) % 4))
    return b"".join(framed)
