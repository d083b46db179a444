"""What readers of archives and records share: names, people, bytes by position."""

import csv
import hashlib
import io
import os
import pathlib
import posixpath
import threading
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from bridges.datasets.decoding import UnreadableImage
from bridges.datasets.folder_listing import LABELS
from bridges.datasets.image_files import number_identities
from hyperface_jax import InputError

# Of the table beside what gives people numbers, which says who each number is.
LABEL_COLUMNS = ("label", "identity", "images")
# No encoded face is as large; larger ones are asked for by damaged files.
LARGEST_IMAGE = 2**28


class StoredImages:
    """Encoded images inside of a file; an image source without ``read``.

    Attributes are those of :class:`bridges.datasets.image_source.ImageSource`.
    """

    def __init__(
        self,
        path: pathlib.Path,
        names: Sequence[str],
        who: Sequence[int | str] | None,
        records: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Notes the images.

        Args:
          path: the file or folder.
          names: of each image.
          who: the identity of each; None where nothing says it.
          records: more that is known of each.

        Raises:
          InputError: no images.
        """
        if not len(names):
            raise InputError(f"{path}: no images in it")
        self.name = os.fspath(path)
        more = records or [{}] * len(names)
        self.records = [
            {**each, "file_name": name} for name, each in zip(names, more, strict=True)
        ]
        self.labelled = who is not None
        self.identities, self.labels = number_identities(names if who is None else who)

    def __len__(self) -> int:
        return len(self.records)

    def read(self, index: int) -> bytes:
        """The encoded bytes of an image.

        Raises:
          UnreadableImage: they can't be read; names the image.
        """
        raise NotImplementedError

    def fingerprint(self) -> str:
        """SHA-256 over names, labels and the images' bytes."""
        digest = hashlib.sha256()
        for i, record in enumerate(self.records):
            try:
                content = hashlib.sha256(self.read(i)).hexdigest()
            except UnreadableImage:
                content = "unreadable"
            line = f"{record['file_name']} {self.labels[i]} {content}\n"
            digest.update(line.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def unreadable_image(self, index: int, reason: str) -> UnreadableImage:
        """The error that names an image."""
        name = posixpath.join(self.name, self.records[index]["file_name"])
        return UnreadableImage(name, reason)


class FilePart:
    """A file of which parts are read, by any thread and in any process."""

    def __init__(self, path: pathlib.Path) -> None:
        """Opens nothing yet.

        Args:
          path: of the file.
        """
        self._path = path
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None

    def read(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset`` on."""
        with self._lock:
            if self._file is None:
                self._file = open(self._path, "rb")
            self._file.seek(offset)
            return self._file.read(length)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])


def check_member(name: str, place: str | os.PathLike[str]) -> str:
    """The name of a member of an archive, if unpacking it would stay inside.

    Raises:
      InputError: an absolute name, or one with ``..``.
    """
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or name.startswith(("/", "\\")) or ":" in parts[0] or "\0" in name:
        raise InputError(
            f"{place}: holds {name[:80]!r}, which leads out of the archive; whoever "
            "made it meant harm, don't unpack it"
        )
    return name


def read_identities(folder: pathlib.Path) -> dict[int, str]:
    """Who each number is, by ``labels.csv`` in a folder; empty without that file.

    Raises:
      InputError: another file of that name.
    """
    path = folder / LABELS
    if not path.is_file():
        return {}
    try:
        text = path.read_text("utf-8", "surrogateescape")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        return {int(row["label"]): str(row["identity"]) for row in rows}
    except (csv.Error, KeyError, TypeError, ValueError):
        raise InputError(
            f"{path}: no table of {', '.join(LABEL_COLUMNS)}; remove it, or write the "
            "set anew"
        ) from None


def named(labels: Sequence[int], folder: pathlib.Path) -> list[int | str]:
    """People by their names in ``labels.csv``, if it has all; else by number."""
    names = read_identities(folder)
    if names and set(labels) <= names.keys():
        plain = {label: _plain(name) for label, name in names.items()}
        kinds = {type(plain[label]) for label in set(labels)}
        chosen = plain if len(kinds) == 1 else names
        return [chosen[label] for label in labels]
    return [int(label) for label in labels]


def _plain(name: str) -> int | str:
    """A number where the name is one as it would be written."""
    return int(name) if name.isdecimal() and str(int(name)) == name else name
