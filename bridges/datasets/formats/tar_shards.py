"""WebDataset: tar archives in which the files of one image share a name.

::

    000000.tar     00000000.jpg 00000000.cls 00000000.json 00000001.jpg …
    000001.tar     …

``.cls`` is the number of the person, ``.json`` what else is known, and where it has a
``label`` the number too.
"""

import io
import json
import os
import pathlib
import posixpath
import tarfile
from typing import Any

from bridges.datasets.dataset_format import to_json
from bridges.datasets.folder_listing import image_suffixes
from bridges.datasets.formats.stored_images import (
    LARGEST_IMAGE,
    FilePart,
    StoredImages,
    check_member,
    named,
)
from hyperface_jax import InputError, files

SUFFIX = ".tar"
# Images a shard when written: some hundred megabytes of crops at most.
IMAGES_PER_SHARD = 10_000
_LARGEST_TEXT = 2**20


class TarShards(StoredImages):
    """The images of one tar archive, or of all in a folder."""

    def __init__(
        self, path: str | os.PathLike[str], *, identity_from: str = ""
    ) -> None:
        """Reads the names and the labels.

        Args:
          path: the archive, or a folder with some.
          identity_from: ignored: labels say who is on an image.

        Raises:
          InputError: no such archive, a damaged one, names that lead out of it, or
            labels on some images and not on others.
        """
        del identity_from
        path = pathlib.Path(files.path_of(path))
        shards = [path] if path.is_file() else sorted(path.glob(f"*{SUFFIX}"))
        if not shards:
            what = f"no {SUFFIX} files in it" if path.is_dir() else "no such file"
            raise InputError(f"{path}: {what}")
        self._files = [FilePart(shard) for shard in shards]
        self._places: list[tuple[int, int, int]] = []
        names, labels, records = [], [], []
        for number, shard in enumerate(shards):
            for name, place, label, record in _samples(shard):
                self._places.append((number, *place))
                names.append(name if len(shards) == 1 else f"{shard.stem}/{name}")
                labels.append(label)
                records.append(record)
        missing = labels.count(None)
        if 0 < missing < len(labels):
            first = names[labels.index(None)]
            raise InputError(
                f"{path}: {missing} of {len(labels)} images have no label, {first} "
                "first; give all a .cls, or none"
            )
        folder = path if path.is_dir() else path.parent
        who = None if missing else named(labels, folder)
        super().__init__(path, names, who, records)

    def read(self, index: int) -> bytes:
        """The encoded bytes of an image."""
        shard, offset, size = self._places[index]
        content = self._files[shard].read(offset, size)
        if len(content) < size:
            raise self.unreadable_image(index, "cut off; copy the archive again")
        return content


class TarWriter:
    """Writes shards, and goes on behind the last whole one.

    Attributes:
      done: how many images are there already.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        """Starts.

        Args:
          folder: it exists.
        """
        self._folder = folder
        number = 0
        while self._shard(number).exists():
            number += 1
        self._number, self.done = number, number * IMAGES_PER_SHARD
        self._tar: tarfile.TarFile | None = None
        self._in_shard = 0

    def write(self, content: bytes, label: int, record: dict[str, Any]) -> None:
        """Adds an image.

        Args:
          content: encoded.
          label: the number of the person.
          record: what else is known, JSON-ready.
        """
        if self._tar is None:
            partial = self._shard(self._number).with_suffix(".tar.partial")
            self._tar = tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT)
        key = f"{self._number * IMAGES_PER_SHARD + self._in_shard:08d}"
        suffix = posixpath.splitext(record["file_name"])[1].lower() or ".jpg"
        known = {**record, "label": label}
        for ending, part in (
            (suffix, content),
            (".cls", str(label).encode()),
            (".json", to_json(known).encode()),
        ):
            member = tarfile.TarInfo(key + ending)
            member.size = len(part)
            self._tar.addfile(member, io.BytesIO(part))
        self._in_shard += 1
        if self._in_shard == IMAGES_PER_SHARD:
            self._end_shard()

    def finish(self, labels: list[int], names: list[str]) -> None:
        """Ends the last shard.

        Args:
          labels: unused.
          names: unused.
        """
        del labels, names
        if self._tar is not None:
            self._end_shard()

    def close(self) -> None:
        """Gives up the shard that is not whole."""
        if self._tar is not None:
            self._tar.close()
            files.discard(self._shard(self._number).with_suffix(".tar.partial"))

    def _end_shard(self) -> None:
        self._tar.close()
        self._tar = None
        shard = self._shard(self._number)
        os.replace(shard.with_suffix(".tar.partial"), shard)
        self._number, self._in_shard = self._number + 1, 0

    def _shard(self, number: int) -> pathlib.Path:
        return self._folder / f"{number:06d}{SUFFIX}"


def _samples(
    shard: pathlib.Path,
) -> list[tuple[str, tuple[int, int], int | None, dict[str, Any]]]:
    """Of each image of an archive: name, offset and size, label, what else is known."""
    images: dict[str, tuple[str, tuple[int, int]]] = {}
    labels: dict[str, int] = {}
    records: dict[str, dict[str, Any]] = {}
    size = shard.stat().st_size
    try:
        # Plain archives only: a compressed one can't be read from the middle.
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                name = check_member(member.name, shard)
                if not member.isfile() or posixpath.basename(name).startswith("."):
                    continue
                if member.issparse() or member.offset_data + member.size > size:
                    raise InputError(f"{shard}: {name} is cut off; copy it again")
                key, ending = _parted(name)
                if ending in image_suffixes():
                    if key in images:
                        raise InputError(f"{shard}: two images named {key}")
                    if member.size > LARGEST_IMAGE:
                        raise InputError(f"{shard}: {name} has more than 256 MiB")
                    images[key] = name, (member.offset_data, member.size)
                elif ending in (".cls", ".json") and member.size <= _LARGEST_TEXT:
                    content = archive.extractfile(member).read()
                    if ending == ".cls":
                        labels[key] = _number(content, f"{shard}: {name}")
                    else:
                        records[key] = _known(content, f"{shard}: {name}")
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        kind = "not a plain tar archive"
        raise InputError(
            f"{shard}: {kind}, or a damaged one ({' '.join(str(error).split())}); "
            "unpack it if it is compressed"
        ) from None
    found = []
    for key, (name, place) in images.items():
        record = records.get(key, {})
        label = labels.get(key)
        if label is None and isinstance(record.get("label"), int):
            label = record["label"]
        found.append((name, place, label, record))
    return found


def _parted(name: str) -> tuple[str, str]:
    """The name that the files of one image share, and what follows it."""
    folder, base = posixpath.split(name)
    stem, dot, ending = base.partition(".")
    return posixpath.join(folder, stem), f"{dot}{ending.lower()}"


def _number(content: bytes, place: str) -> int:
    text = content.strip()[:30].decode("ascii", "replace")
    if not text.isdecimal() or len(text) > 18:
        raise InputError(f"{place}: holds {text!r}, expected the number of a person")
    return int(text)


def _known(content: bytes, place: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise InputError(f"{place}: not JSON") from None
    return found if isinstance(found, dict) else {}
