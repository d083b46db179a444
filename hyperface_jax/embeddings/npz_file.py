"""Reading ``.npz`` files of any origin: each way to be unreadable is said in one line.

A file may be truncated, damaged, of another format or made to mislead. What it claims
of itself is compared with what is there before any memory is asked for, so running out
of memory means that there is too little for what the file really holds.
"""

import contextlib
import io
import math
import os
import stat
import sys
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from hyperface_jax.errors import InputError, reason_of, shown
from hyperface_jax.paths import path_of

_REMEDY = (
    "it is truncated, or of another format, or holds pickled objects, which are never "
    "loaded"
)
_SUFFIX = ".npy"
_BARE = b"\x93NUMPY"
# Read at once, so that a size that isn't true asks for no more memory than this.
_CHUNK = 1 << 22
# NumPy reads headers of up to 10,000 characters.
_LONGEST_HEADER = 1 << 15


class Header(NamedTuple):
    """What stands before the numbers of an array.

    Attributes:
      shape: of the array.
      dtype: of its elements.
      fortran: whether the first axis is the one that runs fastest.
      offset: where the numbers begin: in the file where the array is stored as it is,
        or None where it is compressed.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    offset: int | None


def open_input(path: Any) -> BinaryIO:
    """Opens a file to read.

    Raises:
      InputError: it can't be opened, or is a pipe or a device; says why.
    """
    name = path_of(path)
    try:
        _check_regular(name, os.stat(name).st_mode)
        return open(name, "rb")
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:
        # Windows calls opening a folder a lack of permission.
        if isinstance(error, IsADirectoryError) or os.path.isdir(name):
            raise InputError(f"{name}: is a folder, expected an .npz file") from None
        if isinstance(error, PermissionError):
            raise InputError(
                f"{name}: may not be read (permission denied); change its permissions"
            ) from None
        reason = getattr(error, "strerror", None) or reason_of(error)
        raise InputError(f"{shown(name)}: can't be opened ({reason})") from None


def _check_regular(name: str, mode: int) -> None:
    """Refuses what can be read only once; opening a pipe could wait for ever."""
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        what = "pipe" if stat.S_ISFIFO(mode) else "device or a socket"
        raise InputError(f"{name}: is a {what}, expected a file; write it to one first")


@contextlib.contextmanager
def open_npz(
    path: Any, *, what: str = ".npz file", remedy: str = _REMEDY
) -> Iterator["NpzFile"]:
    """Opens an ``.npz`` file; nothing but reading it belongs inside.

    Args:
      path: the file.
      what: what it should be.
      remedy: what to do about one that can't be read.

    Raises:
      InputError: it can't be opened or, here or later inside, can't be read.
    """
    name = path_of(path)
    with open_input(name) as file:
        try:
            yield NpzFile(name, file)
        except (InputError, MemoryError):
            raise
        except Exception as error:
            # NumPy and zipfile raise whatever the damaged part makes zlib, struct, ast,
            # tokenize or the operating system raise.
            raise InputError(
                f"{name}: not a readable {what} ({reason_of(error)}); {remedy}"
            ) from None


class NpzFile:
    """The arrays of an open file; all methods raise what damaged bytes make them.

    Attributes:
      keys: the names of its arrays, in order.
    """

    def __init__(self, name: str, file: BinaryIO) -> None:
        if file.read(len(_BARE)) == _BARE:
            raise InputError(
                f"{name}: a bare .npy array; expected an .npz file, as "
                "hyperface_jax.save_embeddings writes it"
            )
        self._file, self._size = file, file.seek(0, os.SEEK_END)
        if not self._size:
            raise ValueError("it is empty")
        self._archive = zipfile.ZipFile(file)
        self._members = {
            member.filename.removesuffix(_SUFFIX): member
            for member in self._archive.infolist()
            if member.filename.endswith(_SUFFIX)
        }
        self.keys = sorted(self._members)

    def read(self, key: str) -> np.ndarray:
        """The array ``key``, which must be there; a copy of one's own."""
        content = bytearray()
        with self._archive.open(self._checked(key)) as stream:
            # To the end, where the checksum is compared.
            while chunk := stream.read(_CHUNK):
                content += chunk
        shape, dtype, fortran, offset = _parsed(content[:_LONGEST_HEADER])
        _check_size(shape, dtype, len(content) - offset)
        if dtype.kind == "U":
            units = np.ndarray(
                (math.prod(shape) * dtype.itemsize // 4,),
                np.dtype("u4").newbyteorder(dtype.byteorder),
                content,
                offset,
            )
            if units.max(initial=0) > sys.maxunicode:
                raise ValueError("a text holds what is no character")
        order = "F" if fortran else "C"
        return np.ndarray(shape, dtype, content, offset, order=order)

    def header(self, key: str) -> Header:
        """What is known of the array ``key``, which must be there, without reading it.

        The checksum isn't compared.
        """
        member = self._checked(key)
        with self._archive.open(member) as stream:
            found = _parsed(stream.read(_LONGEST_HEADER))
        if member.compress_type != zipfile.ZIP_STORED:
            return found._replace(offset=None)
        _check_size(found.shape, found.dtype, member.file_size - found.offset)
        # The local header repeats the name and may carry another extra field.
        self._file.seek(member.header_offset + 26)
        lengths = np.frombuffer(self._file.read(4), "<u2")
        begin = member.header_offset + 30 + int(lengths.sum(dtype=np.int64))
        if begin + member.file_size > self._size:
            raise ValueError("it ends within its arrays")
        return found._replace(offset=begin + found.offset)

    def _checked(self, key: str) -> zipfile.ZipInfo:
        member = self._members[key]
        if member.header_offset + member.compress_size > self._size:
            raise ValueError("it ends within its arrays")
        return member


def _parsed(content: bytes | bytearray) -> Header:
    """The header that an array's bytes begin with; the offset is within them."""
    stream = io.BytesIO(content)
    with warnings.catch_warnings():
        # Of the odd text that a damaged header is to Python's parser.
        warnings.simplefilter("ignore")
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            raise ValueError(f"arrays of the unknown format version {version}")
        try:
            shape, fortran, dtype = read(stream)
        except Exception:  # Of what it says, to a parser of Python.
            raise ValueError("an array's header is damaged") from None
    if dtype.hasobject:
        raise ValueError("pickled objects")
    # To Python a bool is a number; here it is not.
    if any(length < 0 or isinstance(length, bool) for length in shape):
        raise ValueError(f"an array's header says that its shape is {shape}")
    return Header(shape, dtype, fortran, stream.tell())


def _check_size(shape: tuple[int, ...], dtype: np.dtype, there: int) -> None:
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > there:
        raise ValueError(
            f"an array's header claims {claimed} bytes, of which {there} are there"
        )
