"""Reading of an LMDB file by its pages, without LMDB's library.

The library maps a file into memory and trusts it: a damaged one ends the process. This
reads the B+ tree of the main database of a file of format version 1, as 64-bit little-
endian machines write it, and checks all that it goes by.

Pages begin with 16 bytes: number u64, pad u16, flags u16, and either the lower and
upper ends of the free space, u16 each, or how many pages an overflow takes, u32. Pages
0 and 1 are headers of which the one with the higher transaction counts. Nodes of leaves
and branches are listed by u16 offsets behind the 16 bytes; each begins with lo u16,
hi u16, flags u16 and the size of its key u16.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from bridges.datasets.formats.file_ranges import FileRanges
from hyperface_jax import InputError

_PAGE = struct.Struct("<QHHHH")
_NODE = struct.Struct("<HHHH")
# Magic, version, address, map size; then two databases, last page, transaction.
_META = struct.Struct("<IIQQ")
_DATABASE = struct.Struct("<IHHQQQQQ")
_LAST = struct.Struct("<QQ")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 1, 2, 4, 8
_BIG, _SUB, _DUPLICATES = 1, 2, 4
_NO_PAGE = 2**64 - 1
_PAGE_SIZES = tuple(1 << power for power in range(8, 17))
# A tree of this depth would hold more than there are disks for.
_DEEPEST = 32


class Value(NamedTuple):
    """Where a value is in the file."""

    offset: int
    size: int


class LmdbPages:
    """The keys of the main database and where their values are.

    Attributes:
      path: the file.
      entries: how many keys there are.
    """

    def __init__(self, file: FileRanges) -> None:
        """Reads the header.

        Raises:
          InputError: not LMDB, another version or byte order, or damaged.
        """
        self._file = file
        self.path = file.path
        self._size = file.size()
        metas = [self._meta(offset) for offset in (0, None)]
        newest = max(metas, key=lambda meta: meta[0])
        _, self._page_size, self._depth, self.entries, self._root, self._last = newest
        if self._root != _NO_PAGE:
            self._check_page(self._root)

    def items(self) -> Iterator[tuple[bytes, Value]]:
        """Keys in their order with where the values are.

        Raises:
          InputError: a damaged or truncated tree.
        """
        if self._root == _NO_PAGE:
            return
        # Each page belongs to one branch; one that comes again is a circle.
        seen: set[int] = set()
        stack = [(self._root, 1)]
        count = 0
        while stack:
            number, depth = stack.pop()
            if number in seen or depth > min(self._depth, _DEEPEST):
                raise self._damaged(f"page {number} is where it can't be")
            seen.add(number)
            page, flags, nodes = self._nodes(number)
            if flags & _BRANCH:
                below = [(self._branch(page, node), depth + 1) for node in nodes]
                stack += reversed(below)
                continue
            for node in nodes:
                yield self._leaf(number, page, node)
                count += 1
        if count != self.entries:
            raise self._damaged(f"{count:,} entries of {self.entries:,} are there")

    def read(self, value: Value) -> bytes:
        """The bytes of a value, fewer where the file was cut since."""
        return self._file.read(value.offset, value.size)

    def _meta(self, offset: int | None) -> tuple[int, ...]:
        """Transaction, page size, depth, entries, root and last page of a header."""
        if offset is None:
            offset = self._first_page_size
        head = self._file.read(offset, 16 + _META.size + 2 * _DATABASE.size + 16)
        if len(head) < 16 + _META.size + 2 * _DATABASE.size + 16:
            raise self._damaged("too short for its header")
        *_, flags, _, _ = _PAGE.unpack_from(head)
        magic, version, _, _ = _META.unpack_from(head, 16)
        if magic != _MAGIC or not flags & _META_PAGE:
            raise InputError(
                f"{self._file.path}: not an LMDB file, or written on a machine of "
                "another byte order; write it again on a 64-bit little-endian one"
            )
        # The highest byte of the version is of development builds.
        if version & 0xFFFF != _VERSION:
            raise InputError(
                f"{self._file.path}: LMDB of version {version}, expected {_VERSION}; "
                "copy it with mdb_copy of LMDB 0.9"
            )
        free = _DATABASE.unpack_from(head, 16 + _META.size)
        main = _DATABASE.unpack_from(head, 16 + _META.size + _DATABASE.size)
        last, transaction = _LAST.unpack_from(
            head, 16 + _META.size + 2 * _DATABASE.size
        )
        page_size = free[0]
        if page_size not in _PAGE_SIZES:
            raise self._damaged(f"pages of {page_size:,} bytes")
        self._first_page_size = page_size
        _, flags, depth, _, _, _, entries, root = main
        if flags & _DUPLICATES:
            raise InputError(
                f"{self._file.path}: an LMDB with several values a key, expected one"
            )
        return transaction, page_size, depth, entries, root, last

    def _nodes(self, number: int) -> tuple[bytes, int, list[int]]:
        """A page, its flags and where its nodes are in it."""
        self._check_page(number)
        page = self._file.read(number * self._page_size, self._page_size)
        if len(page) < self._page_size:
            raise self._damaged(f"page {number} is cut off")
        found, _, flags, lower, upper = _PAGE.unpack_from(page)
        right = flags & 0xFF & ~0x10 in (_BRANCH, _LEAF) and found == number
        if not right or not 16 <= lower <= upper <= self._page_size:
            raise self._damaged(f"page {number} is neither branch nor leaf")
        nodes = struct.unpack_from(f"<{(lower - 16) // 2}H", page, 16)
        if any(not lower <= node <= self._page_size - _NODE.size for node in nodes):
            raise self._damaged(f"page {number} has a node outside of it")
        return page, flags, list(nodes)

    def _branch(self, page: bytes, node: int) -> int:
        low, high, more, _ = _NODE.unpack_from(page, node)
        return low | high << 16 | more << 32

    def _leaf(self, number: int, page: bytes, node: int) -> tuple[bytes, Value]:
        low, high, flags, key_size = _NODE.unpack_from(page, node)
        size, start = low | high << 16, node + _NODE.size + key_size
        key = page[node + _NODE.size : start]
        if flags & (_SUB | _DUPLICATES):
            raise InputError(
                f"{self._file.path}: holds a database of its own under the key "
                f"{key[:40]!r}, expected images; this is an LMDB of another program"
            )
        offset = number * self._page_size + start
        if flags & _BIG:
            if start + 8 > self._page_size:
                raise self._damaged(f"page {number} has a node that leaves it")
            (overflow,) = struct.unpack_from("<Q", page, start)
            self._check_page(overflow)
            head = self._file.read(overflow * self._page_size, _PAGE.size)
            if len(head) < _PAGE.size or not _PAGE.unpack(head)[2] & _OVERFLOW:
                raise self._damaged(f"page {overflow} does not hold a large value")
            offset = overflow * self._page_size + _PAGE.size
            if offset + size > self._size:
                raise self._damaged("a value ends behind the end")
        elif start + size > self._page_size:
            raise self._damaged(f"page {number} has a node that leaves it")
        return key, Value(offset, size)

    def _check_page(self, number: int) -> None:
        if not 2 <= number <= self._last:
            raise self._damaged(f"refers to page {number} of {self._last + 1:,}")
        if (number + 1) * self._page_size > self._size:
            raise self._damaged(f"page {number} is behind the end")

    def _damaged(self, what: str) -> InputError:
        return InputError(
            f"{self._file.path}: {what}; the LMDB file is truncated or damaged, copy "
            "it again"
        )
