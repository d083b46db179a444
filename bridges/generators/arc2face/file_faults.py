"""What is wrong with a file of weights, found without reading it whole.

Files of gigabytes arrive damaged in few ways: not at all, as git-lfs pointers or web
pages in their place, or cut off. Each shows in the file's first bytes and its length.
"""

import json
import pathlib
import zipfile
from typing import BinaryIO

_LFS = b"version https://git-lfs"
# A header of more is none: safetensors itself refuses it.
_LONGEST_HEADER = 100_000_000


def fault_of(path: pathlib.Path) -> str | None:
    """What keeps a file from being read, in words; None where nothing shows.

    Args:
      path: ``.safetensors``, ``.bin``, ``.onnx`` or ``.json``; of others, only what any
        file can suffer is looked for.
    """
    try:
        if path.is_symlink() and not path.exists():
            return "is a link that leads nowhere"
        if not path.is_file():
            return "is a folder" if path.is_dir() else "is missing"
        size = path.stat().st_size
        with path.open("rb") as file:
            return _fault_in(file, size, path.suffix.lower())
    except OSError as error:
        return f"can't be read ({error.strerror or error})"


def _fault_in(file: BinaryIO, size: int, suffix: str) -> str | None:
    if not size:
        return "is empty"
    look = {".safetensors": _safetensors, ".bin": _torch_file, ".onnx": _onnx}
    fault = look[suffix](file, size) if suffix in look else None
    # The first bytes of a sound file may be any.
    if fault is None and suffix in look:
        return None
    file.seek(0)
    start = file.read(64).lstrip()
    if start.startswith(_LFS):
        return "is a git-lfs pointer, not the file itself"
    if start.startswith(b"<"):
        return "is a web page, not the file itself"
    return fault


def _safetensors(file: BinaryIO, size: int) -> str | None:
    """The header says where the last tensor ends, which is where the file has to."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or not 2 <= length <= _LONGEST_HEADER:
        return "is no safetensors file"
    if 8 + length > size:
        return _cut_off(size)
    try:
        header = json.loads(file.read(length))
        ends = [
            entry["data_offsets"][1]
            for name, entry in header.items()
            if name != "__metadata__"
        ]
        expected = 8 + length + max(ends, default=0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return "is no safetensors file"
    if expected > size:
        return _cut_off(size, expected)
    return None if expected == size else "is longer than its header says"


def _torch_file(file: BinaryIO, size: int) -> str | None:
    """A zip archive has its list at its end; older files are pickles from the start."""
    start = file.read(2)
    if start == b"PK":
        try:
            return None if zipfile.is_zipfile(file) else _cut_off(size)
        except zipfile.BadZipFile:
            return "is a damaged archive"
    return None if start[:1] == b"\x80" else "is no file of torch"


def _onnx(file: BinaryIO, size: int) -> str | None:
    """A protocol buffer is a row of fields, the longest of them with its length."""
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(20)
        key, used = _varint(head, 0)
        value, after = _varint(head, used)
        # Of the fields of a model all are numbers or have a length.
        if key is None or value is None or key & 7 not in (0, 2) or not 1 <= key >> 3:
            return "is no ONNX file" if not place else _cut_off(size)
        place += after + (value if key & 7 == 2 else 0)
    return None if place == size else _cut_off(size, place)


def _varint(data: bytes, start: int) -> tuple[int | None, int]:
    """A number of a protocol buffer and where it ends; None where it doesn't."""
    value = 0
    for i, byte in enumerate(data[start : start + 10]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, start + i + 1
    return None, start


def _cut_off(size: int, expected: int | None = None) -> str:
    of = f" of {expected:,}" if expected else ""
    return f"is cut off after {size:,}{of} bytes"
