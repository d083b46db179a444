"""Zip archives of images, read without unpacking them.

Who is on an image says ``metadata.jsonl`` in the archive, StyleGAN's ``dataset.json``,
or the folder it is in.
"""

import functools
import os
import struct
import zipfile
import zlib
from typing import Any

from bridges.datasets.formats.archive_members import (
    LARGEST_TABLE,
    check_name,
    records_of,
    sort_members,
    unnamed,
)
from bridges.datasets.formats.file_ranges import LARGEST_IMAGE, FileRanges
from bridges.datasets.formats.packed_images import PackedImages, check_file
from bridges.datasets.identity_folders import AUTO
from hyperface_jax import InputError

_LOCAL = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 1
# An image this large that shrinks to less than a hundredth is no photograph. Deflate
# itself shrinks zeros a thousandfold.
_SUSPICIOUS = 64 * 2**20
_MOST_SHRUNK = 100


class ZipFile(PackedImages):
    """A zip archive of images; an image source."""

    def __init__(
        self, path: str | os.PathLike[str], *, identity_from: str = AUTO
    ) -> None:
        """Reads the list of members; unpacks nothing.

        Args:
          path: the archive.
          identity_from: what says who is on an image where no table in it does.

        Raises:
          InputError: no archive, truncated, a name that leads out of it, or members
            that unpack to far more than photographs do.
        """
        path = check_file(path)
        self._file = FileRanges(path)
        members = [info for info in _members(path) if not _is_folder(info, path)]
        _check_sizes(members, str(path), self._file.size())
        names = [_name_of(info, str(path)) for info in members]
        position = {name: i for i, name in enumerate(names)}
        double = next((n for i, n in enumerate(names) if position[n] != i), None)
        if double is not None:
            raise InputError(f"{path}: holds {double!r} twice; make it again")
        images, left_out = sort_members(names)
        if not images:
            raise InputError(f"{path}: no images in it")
        tables = {
            name: functools.partial(self._table, members[position[name]])
            for name in left_out.get("not an image by its suffix", ())
        }
        listed = [names[i] for i in images]
        named, records, who = records_of(listed, tables, identity_from, str(path))
        self._members = [members[position[name]] for name in named]
        super().__init__(path, [path], records, who)
        self.left_out = left_out | unnamed(listed, named)

    def _content(self, index: int) -> bytes:
        return self._unpacked(self._members[index])

    def _unpacked(self, info: zipfile.ZipInfo) -> bytes:
        """The content of a member; raises ValueError where it is damaged."""
        if info.flag_bits & _ENCRYPTED:
            raise ValueError("it is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("packed neither stored nor deflated")
        if info.file_size > LARGEST_IMAGE:
            raise ValueError("larger than 2 GiB")
        head = self._file.read(info.header_offset, _LOCAL.size)
        if len(head) < _LOCAL.size or not head.startswith(b"PK\3\4"):
            raise ValueError("the archive is damaged where the image begins")
        *_, name, extra = _LOCAL.unpack(head)
        start = info.header_offset + _LOCAL.size + name + extra
        packed = self._file.read(start, info.compress_size)
        if info.compress_type == zipfile.ZIP_DEFLATED:
            try:
                # No more than the list promises, whatever the data unpack to.
                packed = zlib.decompressobj(-15).decompress(packed, info.file_size + 1)
            except zlib.error as error:
                raise ValueError(str(error)) from None
        if len(packed) != info.file_size or zlib.crc32(packed) != info.CRC:
            raise ValueError("the archive is damaged or truncated here")
        return packed

    def _table(self, info: zipfile.ZipInfo) -> bytes:
        try:
            if info.file_size > LARGEST_TABLE:
                raise ValueError("too large for a table")
            return self._unpacked(info)
        except ValueError as error:
            raise InputError(f"{self._file.path}: {info.filename}: {error}") from None


def _members(path: Any) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except OSError:
        raise
    except Exception as error:
        # Of damaged lists the module raises what the damage leads to.
        raise InputError(
            f"{path}: not a readable zip archive ({' '.join(str(error).split())}); it "
            "is truncated or damaged, fetch it again"
        ) from None


def _is_folder(info: zipfile.ZipInfo, path: Any) -> bool:
    if not info.filename:
        raise InputError(f"{path}: a member has no name; fetch the archive again")
    return info.is_dir()


def _name_of(info: zipfile.ZipInfo, place: str) -> str:
    # The module cuts names off at a null byte and turns the slashes of Windows.
    for name in (info.orig_filename, info.filename):
        check_name(name, place)
    return info.filename


def _check_sizes(members: list[zipfile.ZipInfo], place: str, size: int) -> None:
    """Refuses what unpacks to far more than there can be of photographs."""
    total = sum(info.file_size for info in members)
    packed = sum(info.compress_size for info in members)
    if packed > size:
        raise InputError(
            f"{place}: its members claim {packed:,} bytes, the archive has {size:,}; "
            "it is damaged or a zip bomb"
        )
    if total > max(_SUSPICIOUS, _MOST_SHRUNK * size):
        raise InputError(
            f"{place}: would unpack to {total:,} bytes, "
            f"{total // max(size, 1):,} times its size; such a zip bomb is not read"
        )
