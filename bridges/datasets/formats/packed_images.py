"""What image sources have in common that hold many images in few files."""

import abc
import hashlib
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from bridges.datasets.decoding import SHORTAGES, UnreadableImage, said_by
from bridges.datasets.formats.label_table import read_label_table, read_records
from bridges.datasets.image_files import number_identities
from hyperface_jax import InputError, files


class PackedImages(abc.ABC):
    """An image source without the reading.

    A subclass sets up what it needs, calls ``__init__`` and defines ``_content``.
    Attributes are those of :class:`bridges.datasets.image_source.ImageSource`, and:

    Attributes:
      content_files: the files whose bytes the images are read from.
      left_out: what is in them and does not count, by the reason.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        content_files: Sequence[str | os.PathLike[str]],
        records: Sequence[dict[str, Any]],
        who: Sequence[int | str] | None,
        *,
        names: Sequence[int | str] | None = None,
        tables: str | os.PathLike[str] | None = None,
    ) -> None:
        """Notes what was found.

        Args:
          path: what the user named, for messages.
          content_files: see the class.
          records: a dictionary an image, with at least ``file_name``.
          who: the identity of each image; None where nothing says it.
          names: where ``who`` are positions in a list of identities: that list.
          tables: the folder that may hold ``labels.csv`` and ``records.jsonl`` of
            a conversion; they give the labels their names and the images what the
            format has no room for.

        Raises:
          InputError: no images, or tables that belong to other images.
        """
        self.name = os.fspath(path)
        self.content_files = [os.fspath(each) for each in content_files]
        self.records = list(records)
        self.labelled = who is not None
        self.left_out: dict[str, list[str]] = {}
        if not self.records:
            raise InputError(f"{self.name}: no images in it")
        if who is None:
            who = [record["file_name"] for record in self.records]
        self.identities, self.labels = number_identities(who)
        if self.labelled and names is not None:
            self.identities = [names[position] for position in self.identities]
        if tables is not None:
            tables = pathlib.Path(tables)
            if self.labelled:
                self.identities = read_label_table(tables, who) or self.identities
            self.records = read_records(tables, self.records) or self.records

    def __len__(self) -> int:
        return len(self.records)

    def read(self, index: int) -> bytes:
        """The encoded bytes of an image, untouched.

        Raises:
          UnreadableImage: the file was changed or damaged; names the image.
        """
        try:
            return self._content(index)
        except UnreadableImage:
            raise
        except (OSError, ValueError, MemoryError) as error:
            if getattr(error, "errno", None) in SHORTAGES:
                raise
            raise self.unreadable_image(index, said_by(error)) from None

    def fingerprint(self) -> str:
        """SHA-256 over the files' bytes, the names and the labels."""
        digest = hashlib.sha256()
        for path in self.content_files:
            digest.update(f"{files.sha256_of(path)}\n".encode())
        for record, label in zip(self.records, self.labels, strict=True):
            who = self.identities[label] if self.labelled else None
            line = f"{record['file_name']} {label} {who!r}\n"
            digest.update(line.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def unreadable_image(self, index: int, reason: str) -> UnreadableImage:
        """What to raise where an image can't be read."""
        name = os.path.join(self.name, str(self.records[index]["file_name"]))
        return UnreadableImage(name, reason)

    @abc.abstractmethod
    def _content(self, index: int) -> bytes:
        """The bytes of an image; raises as :meth:`read` translates."""


def check_file(path: str | os.PathLike[str]) -> pathlib.Path:
    """The path, if it is that of a file that can be read by position.

    Raises:
      InputError: no such file, a folder, or a device or a pipe.
    """
    path = pathlib.Path(files.path_of(path))
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file")
    if not path.is_file():
        raise InputError(f"{path}: a device or a pipe, expected a file")
    return path
