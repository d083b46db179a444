"""The image dataset folder: written image by image, resumable, and read whole.

::

    images/000000/000000_000.jpg    identity 0, image 0
    metadata.jsonl                  a line per image: file_name, identity, index, seed …
    dataset.json                    settings, counts, what made it, complete

Hugging Face ``imagefolder`` reads the same folder as it is. While it is being made,
``journal.jsonl`` takes the place of ``metadata.jsonl``.
"""

import errno
import fcntl
import hashlib
import json
import os
import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bridges.datasets.images import (
    IMAGE_SUFFIXES,
    encode_jpeg,
    read_images,
)
from hyperface_jax import InputError, files
from hyperface_jax.commands import provenance

__all__ = ["ImageDataset", "ImageDatasetWriter", "encode_jpeg"]

FORMAT_VERSION = 1
_DESCRIPTION = "dataset.json"
_METADATA = "metadata.jsonl"
_JOURNAL = "journal.jsonl"


class ImageDatasetWriter:
    """Creates a dataset folder, or goes on with one that was interrupted.

    Kill it at any moment and construct it again with the same settings: ``done`` names
    the images already there. Every image is journalled with its checksum after it is
    written, so an image torn by a power cut is noticed and not counted as done.

    Attributes:
      folder: the dataset folder.
      done: ``{(identity, index)}`` written so far, by this run or an earlier one.
      complete: whether the dataset is finished, with the same settings.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        settings: Mapping[str, Any],
        kind: str,
    ) -> None:
        """Opens the folder.

        Args:
          folder: created when missing.
          settings: everything the images depend on, JSON-ready; a later run with other
            settings is refused.
          kind: ``"rendered"``, ``"generated"``, …; part of the settings in that sense.

        Raises:
          InputError: the folder holds something else, or was made with other
            settings, or another process is writing to it.
        """
        self.folder = pathlib.Path(folder)
        self._description = {
            "format_version": FORMAT_VERSION,
            "kind": kind,
            "complete": False,
            "settings": json.loads(_to_json(settings)),
        }
        self._records: dict[tuple[int, int], dict[str, Any]] = {}
        self._journal = -1
        self.complete = False
        self._open()

    @property
    def done(self) -> set[tuple[int, int]]:
        return set(self._records)

    def write(self, image: np.ndarray | bytes, record: Mapping[str, Any]) -> None:
        """Adds one image.

        Args:
          image: ``[h, w, 3]`` uint8 RGB, or the bytes of a JPEG file.
          record: at least ``identity``, ``index`` and ``seed``; JSON-ready or NumPy
            values. ``file_name`` is added.
        """
        if self.complete:
            raise InputError(f"{self.folder}: the dataset is complete already")
        missing = [key for key in ("identity", "index", "seed") if key not in record]
        if missing:
            raise InputError(f"{self.folder}: the record lacks {', '.join(missing)}")
        content = image if isinstance(image, bytes) else encode_jpeg(image)
        identity, index = int(record["identity"]), int(record["index"])
        name = f"images/{identity:06d}/{identity:06d}_{index:03d}.jpg"
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # No fsync per image: the journalled checksum tells torn files apart instead.
        path.write_bytes(content)
        full = {"file_name": name, **record}
        line = _to_json({"crc32": zlib.crc32(content), "record": full}) + "\n"
        self._append(line.encode())
        self._records[identity, index] = json.loads(_to_json(full))

    def finish(self, **extra: Any) -> None:
        """Writes the sorted metadata and the final description; closes the folder.

        Args:
          **extra: further entries of ``dataset.json``: models, a licence note, ….
        """
        if self.complete:
            return
        records = [self._records[key] for key in sorted(self._records)]
        os.sync()
        text = "".join(_to_json(record) + "\n" for record in records)
        files.write_text(self.folder / _METADATA, text)
        description = {
            **self._description,
            "complete": True,
            "counts": {
                "identities": len({record["identity"] for record in records}),
                "images": len(records),
            },
            **json.loads(_to_json(extra)),
            "created_with": provenance(),
        }
        files.write_json(self.folder / _DESCRIPTION, description)
        (self.folder / _JOURNAL).unlink(missing_ok=True)
        self.complete = True
        self.close()

    def close(self) -> None:
        """Lets another process write; an unfinished dataset can be gone on with."""
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1

    def __enter__(self) -> "ImageDatasetWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        written = os.write(self._journal, line)
        if written != len(line):
            os.ftruncate(self._journal, os.fstat(self._journal).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))

    def _open(self) -> None:
        path = self.folder / _DESCRIPTION
        if path.exists():
            found = _read_json(path)
            _check_same_settings(path, found, self._description)
            if found.get("complete"):
                self.complete = True
                for record in _read_metadata(self.folder / _METADATA):
                    self._records[record["identity"], record["index"]] = record
                return
        else:
            _check_vacant(self.folder)
            files.write_json(path, self._description)
        self._open_journal()

    def _open_journal(self) -> None:
        path = self.folder / _JOURNAL
        self._journal = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise InputError(
                f"{self.folder}: another process is writing this dataset; "
                "wait for it or give another folder"
            ) from None
        content = path.read_bytes()
        # A kill can tear the last line: cut it off before appending others.
        whole = content[: content.rfind(b"\n") + 1]
        os.truncate(self._journal, len(whole))
        for line in whole.splitlines():
            entry = json.loads(line)
            record = entry["record"]
            if _checksum(self.folder / record["file_name"]) == entry["crc32"]:
                self._records[record["identity"], record["index"]] = record


class ImageDataset:
    """Images and identities of a folder, of ours or of any usual layout.

    Read are: a dataset folder as described above; a tree with a folder per identity;
    a flat folder of images, where nothing says who is who.

    Attributes:
      folder: the folder.
      paths: ``n`` files.
      labels: ``[n]`` int64 in ``0 … k-1``; ``0 … n-1`` in a flat folder.
      identities: ``k`` names or numbers; image i shows ``identities[labels[i]]``.
      records: ``n`` dicts: the metadata, at least ``file_name``.
      labelled: False for a flat folder, whose labels mean nothing.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Lists the folder; reads no image.

        Raises:
          InputError: no such folder, no image in it, an unfinished dataset, or
            metadata that names no identity or a missing file.
        """
        self.folder = pathlib.Path(folder)
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: no such folder")
        self.labelled = True
        if (self.folder / _METADATA).exists():
            self.records = _read_metadata(self.folder / _METADATA)
            who = [record["identity"] for record in self.records]
        elif (self.folder / _DESCRIPTION).exists():
            raise InputError(
                f"{self.folder}: the dataset is unfinished; run the command that was "
                "making it again, it goes on where it stopped"
            )
        else:
            names = _image_names(self.folder)
            self.records = [{"file_name": name} for name in names]
            who = [os.path.dirname(name) for name in names]
            self.labelled = any(who)
            if not self.labelled:
                who = names
        if not who:
            raise InputError(
                f"{self.folder}: no images in it; "
                f"known are {', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        self.identities = sorted(set(who))
        position = {identity: i for i, identity in enumerate(self.identities)}
        self.labels = np.array([position[identity] for identity in who], np.int64)
        self.paths = [self.folder / record["file_name"] for record in self.records]

    def __len__(self) -> int:
        return len(self.paths)

    def load(
        self,
        size: int | None = None,
        indices: Sequence[int] | np.ndarray | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Reads images into memory.

        Args:
          size: side in pixels to resample to; None keeps the files' own size.
          indices: which images, default all.
          progress: show a bar.

        Returns:
          ``[n, h, w, 3]`` uint8 RGB.

        Raises:
          InputError: an empty or corrupt file, or differing sizes without ``size``.
        """
        chosen = self.paths if indices is None else [self.paths[i] for i in indices]
        return read_images(chosen, size, progress=progress)

    def fingerprint(self) -> str:
        """SHA-256 over names, labels and file sizes: quick, and as good as certain.

        Raises:
          InputError: a listed image is missing.
        """
        digest = hashlib.sha256()
        for path, record, label in zip(
            self.paths, self.records, self.labels, strict=True
        ):
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                raise InputError(f"{path}: no such image, though listed") from None
            digest.update(f"{record['file_name']} {label} {size}\n".encode())
        return digest.hexdigest()


def _to_json(value: Any) -> str:
    return json.dumps(value, default=_plain, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{value!r} has no JSON form")


def _checksum(path: pathlib.Path) -> int | None:
    try:
        return zlib.crc32(path.read_bytes())
    except OSError:
        return None


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds {type(value).__name__}, expected an object")
    return value


def _read_metadata(path: pathlib.Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: missing; the dataset was damaged") from None
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}: line {number} is not JSON ({error})") from None
        for key in ("file_name", "identity"):
            if key not in record:
                raise InputError(f"{path}: line {number} has no {key!r}")
        records.append(record)
    return records


def _check_vacant(folder: pathlib.Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file, expected a folder to write to")
    present = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    if present:
        raise InputError(
            f"{folder}: holds {present[0]!r} but no {_DESCRIPTION}, so it isn't a "
            "dataset of ours; give a new or empty folder"
        )


def _check_same_settings(
    path: pathlib.Path, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    old = {"kind": found.get("kind"), **found.get("settings", {})}
    new = {"kind": wanted["kind"], **wanted["settings"]}
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            raise InputError(
                f"{path}: made with {key} = {old.get(key)!r}, asked for "
                f"{new.get(key)!r}; give another folder or remove this one"
            )


def _image_names(folder: pathlib.Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
    )
