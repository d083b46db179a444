"""LMDB of face images, as Vec2Face and the recognition code around it pack them.

::

    data.mdb    b"0", b"1", …     msgpack (image, label) or (image, feature, label, …)
                b"__keys__"       msgpack list of the keys
                b"__len__"        msgpack count of images
                b"__classnum__"   msgpack count of people
"""

import os
import pathlib
from typing import Any

from bridges.datasets.formats.file_ranges import LARGEST_IMAGE, FileRanges
from bridges.datasets.formats.lmdb_pages import LmdbPages, Value
from bridges.datasets.formats.packed_images import (
    PackedImages,
    check_file,
)
from bridges.datasets.formats.writer import required
from hyperface_jax import InputError
from hyperface_jax.commands import progress

KEYS, LENGTH, CLASSES = b"__keys__", b"__len__", b"__classnum__"


class LmdbFile(PackedImages):
    """An LMDB environment of images and labels; an image source."""

    def __init__(
        self, path: str | os.PathLike[str], *, identity_from: str | None = None
    ) -> None:
        """Reads the keys and the labels; decodes no image.

        Args:
          path: the folder with ``data.mdb``, or such a file.
          identity_from: ignored, the labels say who is who.

        Raises:
          InputError: damaged, of another program's making, or msgpack is missing.
        """
        del identity_from
        required("msgpack")
        path = pathlib.Path(path)
        if path.is_dir():
            path = path / "data.mdb"
        path = check_file(path)
        self._pages = LmdbPages(FileRanges(path))
        values = dict(self._pages.items())
        self._names = keys = self._keys(values)
        self._values, who, records = [], [], []
        for key in progress(keys, description="reading labels", unit="image"):
            if key not in values:
                raise self._foreign(
                    f"its list names key {key[:40]!r}, which is missing"
                )
            entry = self._entry(key, values[key])
            self._values.append(values[key])
            who.append(entry[1])
            records.append({"file_name": key.decode("ascii", "backslashreplace")})
        super().__init__(path, [path], records, who, tables=path.parent)

    def _content(self, index: int) -> bytes:
        return self._entry(self._names[index], self._values[index])[0]

    def _keys(self, values: dict[bytes, Value]) -> list[bytes]:
        """The keys of the images, in their order."""
        missing = next((k for k in (KEYS, LENGTH) if k not in values), None)
        if missing is not None:
            raise self._foreign(f"has no key {missing.decode()}")
        keys = self._unpacked(KEYS, values[KEYS])
        length = self._unpacked(LENGTH, values[LENGTH])
        if not isinstance(keys, list):
            raise self._foreign("its __keys__ are no list")
        keys = [key.encode() if isinstance(key, str) else key for key in keys]
        if not all(isinstance(key, bytes) for key in keys) or len(set(keys)) < len(
            keys
        ):
            raise self._foreign("its __keys__ are no different names")
        if length != len(keys):
            raise self._foreign(f"its __len__ is {length!r:.40} of {len(keys):,} keys")
        return keys

    def _entry(self, key: bytes, value: Value) -> tuple[bytes, int]:
        """Image and label."""
        if value.size > LARGEST_IMAGE:
            raise self._foreign(f"key {key[:40]!r} has {value.size:,} bytes")
        found = self._unpacked(key, value)
        if isinstance(found, list) and len(found) >= 2:
            image, label = found[0], found[1 if len(found) == 2 else 2]
            if isinstance(image, bytes) and type(label) is int:
                return image, label
        raise self._foreign(f"key {key[:40]!r} holds no image with a label")

    def _unpacked(self, key: bytes, value: Value) -> Any:
        msgpack = required("msgpack")
        content = self._pages.read(value)
        try:
            return msgpack.unpackb(content, strict_map_key=False)
        except Exception as error:  # of damage the unpacker raises several kinds
            said = " ".join(str(error).split()) or type(error).__name__
            raise self._foreign(
                f"key {key[:40]!r} is not msgpack ({said:.80})"
            ) from None

    def _foreign(self, what: str) -> InputError:
        return InputError(
            f"{self._pages.path}: {what}; expected an LMDB as Vec2Face packs it, keys "
            "__keys__ and __len__ and msgpack of image and label"
        )
