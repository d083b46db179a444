"""LMDB as Vec2Face and others keep training sets.

Keys are the numbers of the images as text. Values are packed by msgpack: ``(image,
feature, label)`` or ``(image, label)``, the image encoded. ``__len__`` is the number of
images, ``__classnum__`` that of people, ``__keys__`` the list of keys.

LMDB maps its file into memory and trusts it, so a damaged one can end the process that
reads it. The labels are therefore read by another process, which goes through all
values first.
"""

import contextlib
import os
import pathlib
import weakref
from collections.abc import Iterator
from typing import Any

from bridges.datasets.formats.optional import need
from bridges.datasets.formats.stored_images import StoredImages, named
from bridges.worker_processes import map_in_processes
from hyperface_jax import InputError, files

DATA = "data.mdb"
# Address space, not memory: a file may become as large as this.
_MAP_SIZE = 2**40
_IN_A_TRANSACTION = 1000
_REMEDY = "expected msgpack of (image, label) or (image, feature, label)"


class LmdbFolder(StoredImages):
    """The images of an LMDB."""

    def __init__(
        self, path: str | os.PathLike[str], *, identity_from: str = ""
    ) -> None:
        """Goes through all values in another process.

        Args:
          path: the folder with ``data.mdb``, or the file.
          identity_from: ignored: labels say who is on an image.

        Raises:
          InputError: no such file, a damaged one, or one of another writer.
        """
        del identity_from
        path = pathlib.Path(files.path_of(path))
        self._path = path.parent if path.name == DATA else path
        if not (self._path / DATA if self._path.is_dir() else self._path).is_file():
            raise InputError(f"{path}: no LMDB there, it would have {DATA}")
        need("lmdb", "LMDB")
        need("msgpack", "LMDB")
        self._environment: Any = None
        try:
            with contextlib.closing(
                map_in_processes(_look_through, [os.fspath(self._path)], 1)
            ) as found:
                (answer,) = found
        except MemoryError:
            raise InputError(f"{path}: a damaged LMDB; copy it again") from None
        self._keys, labels = answer
        names = [key.decode() for key in self._keys]
        folder = self._path if self._path.is_dir() else self._path.parent
        super().__init__(self._path, names, named(labels, folder))

    def read(self, index: int) -> bytes:
        """The encoded bytes of an image."""
        if self._environment is None:
            self._environment = _shared(self._path)
        with self._environment.begin() as transaction:
            value = transaction.get(self._keys[index])
        if value is None:
            raise self.unreadable_image(index, "no longer in the LMDB")
        return _unpacked(value)[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_environment": None}


class LmdbWriter:
    """Writes an LMDB in Vec2Face's layout, and goes on where it stopped.

    Features are left empty: they are no part of images.

    Attributes:
      done: how many images are there already.
    """

    def __init__(self, folder: pathlib.Path, *, num_people: int) -> None:
        """Opens the LMDB.

        Args:
          folder: it exists.
          num_people: how many there will be.
        """
        self._msgpack = need("msgpack", "LMDB")
        lmdb = need("lmdb", "LMDB")
        self._num_people = num_people
        self._environment = lmdb.open(os.fspath(folder), map_size=_MAP_SIZE)
        self.done = self._environment.stat()["entries"]
        self._waiting: list[tuple[bytes, bytes]] = []

    def write(self, content: bytes, label: int, record: dict[str, Any]) -> None:
        """Adds an image.

        Args:
          content: encoded.
          label: the number of the person.
          record: unused: there is no place for it.
        """
        del record
        key = str(self.done + len(self._waiting)).encode()
        value = self._msgpack.packb((content, b"", label), use_bin_type=True)
        self._waiting.append((key, value))
        if len(self._waiting) == _IN_A_TRANSACTION:
            self._commit()

    def finish(self, labels: list[int], names: list[str]) -> None:
        """Adds what describes the whole.

        Args:
          labels: of all images.
          names: unused.
        """
        del names
        self._commit()
        keys = [str(number).encode() for number in range(len(labels))]
        pack = self._msgpack.packb
        self._waiting = [
            (b"__keys__", pack(keys)),
            (b"__len__", pack(len(labels))),
            (b"__classnum__", pack(self._num_people)),
        ]
        self._commit()
        self.close()

    def close(self) -> None:
        """Closes the LMDB; what is committed stays."""
        self._environment.close()

    def _commit(self) -> None:
        with self._environment.begin(write=True) as transaction:
            for key, value in self._waiting:
                transaction.put(key, value)
        self.done += len(self._waiting)
        self._waiting = []


def _opened(path: pathlib.Path) -> Any:
    lmdb = need("lmdb", "LMDB")
    try:
        return lmdb.open(
            os.fspath(path),
            subdir=path.is_dir(),
            readonly=True,
            lock=False,
            readahead=False,
            create=False,
        )
    except lmdb.Error as error:
        raise InputError(f"{path}: no LMDB, or a damaged one ({error})") from None


# LMDB forbids a process to open a file twice.
_environments: "weakref.WeakValueDictionary[str, Any]" = weakref.WeakValueDictionary()


def _shared(path: pathlib.Path) -> Any:
    """The environment of a file, which readers of one process share."""
    place = os.path.realpath(path)
    found = _environments.get(place)
    if found is None:
        found = _environments[place] = _opened(path)
    return found


def _look_through(path: str) -> tuple[list[bytes], list[int]]:
    """Keys and labels of all images; runs in a process of its own."""
    found = sorted(_entries(pathlib.Path(path)), key=lambda each: int(each[0]))
    return [key for key, _ in found], [label for _, label in found]


def _entries(path: pathlib.Path) -> Iterator[tuple[bytes, int]]:
    lmdb = need("lmdb", "LMDB")
    try:
        with _opened(path) as environment, environment.begin() as transaction:
            for key, value in transaction.cursor():
                if key.startswith(b"__"):
                    continue
                if not key.isdigit() or len(key) > 18:
                    raise InputError(
                        f"{path}: the key {key[:20]!r}, expected numbers; an LMDB of "
                        "another writer"
                    )
                try:
                    yield key, _unpacked(value)[1]
                except ValueError:
                    raise InputError(
                        f"{path}: image {key.decode()} is packed in another way, "
                        f"{_REMEDY}"
                    ) from None
    except lmdb.Error as error:
        raise InputError(f"{path}: a damaged LMDB ({error}); copy it again") from None


def _unpacked(value: bytes) -> tuple[bytes, int]:
    """Image and label of a value.

    Raises:
      ValueError: it is packed in another way.
    """
    msgpack = need("msgpack", "LMDB")
    try:
        found = msgpack.unpackb(value, raw=True, strict_map_key=False)
    except Exception as error:  # Of many kinds, by where the damage is.
        raise ValueError(str(error)) from None
    if not isinstance(found, list) or len(found) not in (2, 3):
        raise ValueError("neither two nor three values")
    image, label = found[0], found[-1]
    if not isinstance(image, bytes) or type(label) is not int:
        raise ValueError("no image and label")
    return image, label
