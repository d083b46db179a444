"""Writing of LMDB; :mod:`bridges.datasets.formats.lmdb_file` describes it."""

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from bridges.datasets.formats.lmdb_file import CLASSES, KEYS, LENGTH
from bridges.datasets.formats.writer import ConvertedImage, required
from bridges.datasets.image_source import ImageSource
from hyperface_jax import files

# The file grows as it is filled; this is the room in it that is asked for at first.
_FIRST_ROOM = 1 << 26
# Images put into the database at a time.
_AT_ONCE = 500
_MOST_BYTES = 1 << 26


class LmdbWriter:
    """Writes ``data.mdb`` with LMDB's library."""

    by_identity = False
    needs_labels = True
    keeps_records = False
    is_file = False

    def __init__(
        self, folder: pathlib.Path, source: ImageSource, state: dict[str, Any] | None
    ) -> None:
        self._lmdb, self._msgpack = required("lmdb"), required("msgpack")
        self._folder = folder
        self._classes = len(source.identities)
        self.rows = state["rows"] if state else 0
        self._waiting: list[tuple[bytes, bytes]] = []
        self._bytes = 0
        room = _FIRST_ROOM
        if (folder / "data.mdb").exists():
            room += (folder / "data.mdb").stat().st_size
        self._room = room
        # A process that writes alone needs no lock, and the file is synced below.
        self._environment = self._lmdb.open(
            str(folder), map_size=room, lock=False, sync=False, metasync=False
        )

    def write(self, image: ConvertedImage) -> None:
        """Adds the image of the next row."""
        # Vec2Face's feature is of a network of theirs; an empty one keeps its place.
        entry = self._msgpack.packb((image.content, b"", image.label))
        self._waiting.append((str(image.row).encode("ascii"), entry))
        self._bytes += len(entry)
        self.rows = image.row + 1
        if len(self._waiting) >= _AT_ONCE or self._bytes >= _MOST_BYTES:
            self._put()

    def checkpoint(self) -> dict[str, Any]:
        """Puts on the disk what was written; returns the state."""
        self._put()
        self._environment.sync(True)
        return {"rows": self.rows}

    def finish(self, tables: Mapping[str, Iterable[str]]) -> None:
        """Adds the list of keys and the tables."""
        keys = [str(row).encode("ascii") for row in range(self.rows)]
        for key, value in (
            (KEYS, keys),
            (LENGTH, len(keys)),
            (CLASSES, self._classes),
        ):
            self._waiting.append((key, self._msgpack.packb(value)))
        self.checkpoint()
        for name, lines in tables.items():
            files.write_lines(self._folder / name, lines)

    def close(self) -> None:
        self._environment.close()
        files.discard(self._folder / "lock.mdb")

    def _put(self) -> None:
        while self._waiting:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in self._waiting:
                        transaction.put(key, value)
            except self._lmdb.MapFullError:
                self._room *= 2
                self._environment.set_mapsize(self._room)
                continue
            self._waiting.clear()
            self._bytes = 0
