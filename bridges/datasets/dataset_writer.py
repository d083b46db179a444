"""Writing of an image dataset folder, image by image and resumable."""

import contextlib
import json
import os
import pathlib
import zlib
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from bridges.datasets.dataset_format import (
    DESCRIPTION,
    FORMAT_VERSION,
    JOURNAL,
    METADATA,
    compared_settings,
    read_metadata,
    to_json,
)
from bridges.datasets.image_bytes import suffix_of
from bridges.datasets.images import encode_jpeg
from bridges.datasets.journal import Journal
from hyperface_jax import InputError, checks, files
from hyperface_jax.artifacts import (
    Output,
    check_same_settings,
    check_vacant,
    read_json,
)
from hyperface_jax.commands import provenance


class ImageDatasetWriter:
    """Creates a dataset folder, or resumes an incomplete one.

    It may be killed at any moment and constructed again with the same settings:
    ``done`` then names the images already there. Every image is journalled with its
    checksum after it is written, so an image torn by a power cut does not count.

    Attributes:
      folder: the dataset folder.
      done: ``{(identity, index)}`` written so far, by this run or an earlier one; a
        view, which grows with every image.
      complete: whether the dataset of these settings is finished.
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
          settings: everything that the images depend on, JSON-ready; a later run with
            other settings is refused.
          kind: ``"rendered"``, ``"generated"``, …; compared like the settings.

        Raises:
          InputError: the folder holds something else, or was made with other
            settings, or another process is writing to it.
        """
        self.folder = pathlib.Path(folder)
        self._description = {
            "format_version": FORMAT_VERSION,
            "kind": kind,
            "complete": False,
            "settings": json.loads(to_json(settings)),
        }
        self._records: dict[tuple[int, int], dict[str, Any]] = {}
        self._journal: Journal | None = None
        self._output = Output(
            self.folder,
            self._read_complete,
            is_folder=True,
            leftovers=[self.folder / JOURNAL],
        )
        # Released together: the folder's lock and the journal.
        self._held = contextlib.ExitStack()
        self.complete = False
        with contextlib.ExitStack() as held:
            self._open(held)
            self._held = held.pop_all()

    @property
    def done(self) -> Set[tuple[int, int]]:
        return self._records.keys()

    def write(self, image: np.ndarray | bytes, record: Mapping[str, Any]) -> None:
        """Adds one image.

        Args:
          image: ``[h, w, 3]`` uint8 RGB, which becomes a JPEG file, or the bytes of an
            image file, whose format decides on the suffix.
          record: at least ``identity``, ``index`` and ``seed``; JSON-ready or NumPy
            values. ``file_name`` is added.

        Raises:
          InputError: a complete dataset, a record without one of these or with one that
            is no whole number, or an image of another shape or dtype.
        """
        if self.complete:
            raise InputError(f"{self.folder}: the dataset is complete already")
        missing = [key for key in ("identity", "index", "seed") if key not in record]
        if missing:
            raise InputError(f"{self.folder}: the record lacks {', '.join(missing)}")
        content = image if isinstance(image, bytes) else encode_jpeg(image)
        identity, index = record["identity"], record["index"]
        checks.whole_number(identity, "identity", 0)
        checks.whole_number(index, "index", 0)
        suffix = suffix_of(content) or ".jpg"
        name = f"images/{identity:06d}/{identity:06d}_{index:03d}{suffix}"
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # No fsync per image: the journalled checksum detects torn files instead.
        path.write_bytes(content)
        full = {"file_name": name, **record}
        self._journal.append({"crc32": zlib.crc32(content), "record": full})
        self._records[identity, index] = json.loads(to_json(full))

    def finish(self, **extra: Any) -> None:
        """Writes the sorted metadata and the final description; closes the folder.

        Args:
          **extra: further entries of ``dataset.json``: models, a licence note, ….
        """
        if self.complete:
            return
        records = [self._records[key] for key in sorted(self._records)]
        if hasattr(os, "sync"):  # not on Windows
            os.sync()
        text = "".join(to_json(record) + "\n" for record in records)
        files.write_text(self.folder / METADATA, text)
        description = {
            **self._description,
            "complete": True,
            "counts": {
                "identities": len({record["identity"] for record in records}),
                "images": len(records),
            },
            **json.loads(to_json(extra)),
            "created_with": provenance(),
        }
        files.write_json(self.folder / DESCRIPTION, description)
        self._output.clean_up()
        self.complete = True
        self.close()

    def close(self) -> None:
        """Releases the folder; an unfinished dataset can be resumed later."""
        self._held.close()

    def __enter__(self) -> "ImageDatasetWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _open(self, held: contextlib.ExitStack) -> None:
        path = self.folder / DESCRIPTION
        records = self._output.finished()
        if records is None:
            if not path.exists():
                check_vacant(self.folder, DESCRIPTION, "dataset")
            records = held.enter_context(self._output.writing())
        self.complete = records is not None
        if records is not None:
            self._records = records
            return
        if not path.exists():
            files.write_json(path, self._description)
        self._open_journal(held)

    def _read_complete(self) -> dict[tuple[int, int], dict[str, Any]] | None:
        """Records of a finished dataset, or None; refuses one of other settings."""
        path = self.folder / DESCRIPTION
        if not path.exists():
            return None
        found = read_json(path)
        check_same_settings(
            path, compared_settings(found), compared_settings(self._description)
        )
        if not found.get("complete"):
            return None
        records = {}
        for record in read_metadata(self.folder / METADATA):
            index = record.get("index")
            if not isinstance(index, int):
                raise InputError(
                    f"{self.folder / METADATA}: {record['file_name']} has index "
                    f"{index!r}; the dataset was changed, make it again"
                )
            records[record["identity"], index] = record
        return records

    def _open_journal(self, held: contextlib.ExitStack) -> None:
        journal = Journal(self.folder / JOURNAL)
        held.callback(journal.close)
        self._journal = journal
        for entry in journal.entries:
            parsed = _parse_entry(entry)
            if parsed is None:
                continue
            (identity, index, record), crc32 = parsed
            if _checksum(self.folder / record["file_name"]) == crc32:
                self._records[identity, index] = record


def _parse_entry(
    entry: Mapping[str, Any],
) -> tuple[tuple[int, int, dict[str, Any]], int] | None:
    """An entry of the journal: (identity, index, record), and the checksum.

    None for one that is not of our making.
    """
    try:
        record = entry["record"]
        pathlib.PurePath(record["file_name"])
        key = int(record["identity"]), int(record["index"])
        return (*key, record), entry["crc32"]
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _checksum(path: pathlib.Path) -> int | None:
    try:
        return zlib.crc32(path.read_bytes())
    except (OSError, ValueError):  # a name with a null byte
        return None
