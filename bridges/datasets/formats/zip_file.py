"""Zips of images, read in place: a folder a person, or StyleGAN's labels."""

import os
import pathlib
import posixpath
import threading
import zipfile
import zlib
from typing import Any

from bridges.datasets.folder_listing import image_suffixes
from bridges.datasets.formats.stored_images import (
    LARGEST_IMAGE,
    StoredImages,
    check_member,
)
from bridges.datasets.formats.stylegan import LABELS_FILE, people_of
from bridges.datasets.identity_folders import AUTO, identities_of
from hyperface_jax import InputError, files

SUFFIX = ".zip"
# Deflate shrinks nothing by more than a thousand times; images hardly at all.
_BOMB_RATIO, _BOMB_SIZE = 200, 2**24


class ZipOfImages(StoredImages):
    """The images of a zip."""

    def __init__(
        self, path: str | os.PathLike[str], *, identity_from: str = AUTO
    ) -> None:
        """Reads the directory of the archive.

        Args:
          path: of the archive.
          identity_from: what says who is on an image, a key of
            :data:`bridges.datasets.identity_folders.IDENTITY_FROM`, where no
            ``dataset.json`` of StyleGAN does. A folder that holds all others is
            passed over.

        Raises:
          InputError: no such archive, a damaged one, one that asks for far more memory
            than it has bytes, or names that lead out of it.
        """
        self._path = pathlib.Path(files.path_of(path))
        self._open()
        members = []
        labels = None
        for member in self._zip.infolist():
            name = check_member(member.filename, self._path)
            hidden = any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
            if member.is_dir() or hidden:
                continue
            if posixpath.basename(name) == LABELS_FILE:
                labels = member
            elif posixpath.splitext(name)[1].lower() in image_suffixes():
                self._check(member)
                members.append(member)
        members.sort(key=lambda member: member.filename)
        self._members = [member.filename for member in members]
        if len(set(self._members)) < len(members):
            raise InputError(f"{self._path}: two members of one name")
        who: Any = None
        records = None
        if labels is not None and identity_from == AUTO:
            below = posixpath.dirname(labels.filename)
            inside = [posixpath.relpath(name, below or ".") for name in self._members]
            who, records = people_of(
                self._content(labels), inside, f"{self._path}/{labels.filename}"
            )
        elif self._members:
            who = identities_of(_below(self._members), identity_from, str(self._path))
        super().__init__(self._path, self._members, who, records)

    def read(self, index: int) -> bytes:
        """The encoded bytes of an image."""
        try:
            return self._content(self._zip.getinfo(self._members[index]))
        except InputError as error:
            raise self.unreadable_image(index, str(error)) from None

    def _open(self) -> None:
        self._lock = threading.Lock()
        try:
            self._zip = zipfile.ZipFile(self._path)
        except FileNotFoundError:
            raise InputError(f"{self._path}: no such file") from None
        except (zipfile.BadZipFile, ValueError, OSError, EOFError, IndexError) as error:
            raise InputError(
                f"{self._path}: no zip, or a damaged one ({error}); copy it again"
            ) from None

    def _check(self, member: zipfile.ZipInfo) -> None:
        if member.flag_bits & 1:
            raise InputError(
                f"{self._path}: {member.filename} is encrypted; unpack it and give the "
                "folder"
            )
        ratio = member.file_size / max(1, member.compress_size)
        bomb = ratio > _BOMB_RATIO and member.file_size > _BOMB_SIZE
        if bomb or member.file_size > LARGEST_IMAGE:
            raise InputError(
                f"{self._path}: {member.filename} would be {member.file_size:,} bytes "
                f"of {member.compress_size:,}: no image is; don't unpack it"
            )

    def _content(self, member: zipfile.ZipInfo) -> bytes:
        self._check(member)
        try:
            with self._lock, self._zip.open(member) as file:
                # The directory may lie about the size.
                content = file.read(member.file_size + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            ValueError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            reason = " ".join(str(error).split())[:80]
            raise InputError(f"damaged in the zip ({reason})") from None
        if len(content) != member.file_size:
            raise InputError("damaged in the zip (of another size)")
        return content

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_zip"], state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


class ZipWriter:
    """Writes a zip with a folder a person, images as they are.

    Attributes:
      done: 0: an interrupted zip is begun anew.
    """

    done = 0

    def __init__(self, path: pathlib.Path) -> None:
        """Starts.

        Args:
          path: of the file, whose name is given to it when it is whole.
        """
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._zip = zipfile.ZipFile(self._partial, "w", zipfile.ZIP_STORED)

    def write(self, content: bytes, label: int, record: dict[str, Any]) -> None:
        """Adds an image.

        Args:
          content: encoded.
          label: unused: the folder says who it is.
          record: ``file_name`` is the path in the zip.
        """
        del label
        # A fixed time: the same images make the same bytes.
        self._zip.writestr(zipfile.ZipInfo(record["file_name"]), content)

    def finish(self, labels: list[int], names: list[str]) -> None:
        """Ends the archive and gives it its name.

        Args:
          labels: unused.
          names: unused.
        """
        del labels, names
        self._zip.close()
        os.replace(self._partial, self._path)

    def close(self) -> None:
        """Gives up what is not whole."""
        self._zip.close()
        files.discard(self._partial)


def _below(names: list[str]) -> list[str]:
    """The names without a folder that is around all others."""
    tops = {name.split("/")[0] for name in names}
    if len(tops) == 1 and all(name.count("/") >= 2 for name in names):
        return [name.split("/", 1)[1] for name in names]
    return names
