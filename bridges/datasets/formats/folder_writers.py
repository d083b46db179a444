"""Writing of folders with a file an image: our dataset, imagefolder, StyleGAN's."""

import bisect
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bridges.datasets.dataset_format import METADATA, to_json
from bridges.datasets.dataset_writer import ImageDatasetWriter
from bridges.datasets.formats.writer import ConvertedImage
from bridges.datasets.image_source import ImageSource
from hyperface_jax import files

# Bytes in the name of a folder, which most file systems take.
_LONGEST_NAME = 200
# Characters that some systems don't take in a name, or read as something else.
_NOT_IN_NAMES = frozenset('/\\:*?"<>|')


class _FolderWriter:
    """Writes files one by one; what is written again after a kill is written over."""

    by_identity = False
    needs_labels = False
    keeps_records = False
    is_file = False

    def __init__(
        self, folder: pathlib.Path, source: ImageSource, state: dict[str, Any] | None
    ) -> None:
        self._folder = folder
        self._source = source
        self.rows = state["rows"] if state else 0
        # From which row on images have which suffix.
        self._suffixes = [tuple(run) for run in state["suffixes"]] if state else []

    def write(self, image: ConvertedImage) -> None:
        """Adds the image of the next row."""
        if not self._suffixes or self._suffixes[-1][1] != image.suffix:
            self._suffixes.append((image.row, image.suffix))
        path = self._folder / self._name(image.row)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.content)
        self.rows = image.row + 1

    def checkpoint(self) -> dict[str, Any]:
        """Puts on the disk what was written; returns the state."""
        if hasattr(os, "sync"):  # not on Windows
            os.sync()
        return {"rows": self.rows, "suffixes": self._suffixes}

    def finish(self, tables: Mapping[str, Iterable[str]]) -> None:
        """Writes the tables."""
        for name, lines in tables.items():
            files.write_lines(self._folder / name, lines)
        # What is finished may be relied on, so it has to be on the disk.
        self.checkpoint()

    def close(self) -> None:
        """Nothing is open."""

    def _name(self, row: int) -> str:
        """The path of an image below the folder, with ``/``; of each format its own."""
        raise NotImplementedError

    def _suffix(self, row: int) -> str:
        run = bisect.bisect_right(self._suffixes, row, key=lambda run: run[0])
        return self._suffixes[run - 1][1]


class ImageFolderWriter(_FolderWriter):
    """A folder an identity, and ``metadata.jsonl``, as Hugging Face reads it."""

    def __init__(
        self, folder: pathlib.Path, source: ImageSource, state: dict[str, Any] | None
    ) -> None:
        super().__init__(folder, source, state)
        self.keeps_records = source.labelled
        self._names = IdentityNames(source)

    def finish(self, tables: Mapping[str, Iterable[str]]) -> None:
        """Writes the metadata and the tables."""
        if self._source.labelled:
            with files.atomic_path(self._folder / METADATA) as path:
                with open(path, "w", encoding="utf-8") as file:
                    file.writelines(metadata_lines(self._source, self._name))
        super().finish(tables)

    def _name(self, row: int) -> str:
        return self._names.of(row, self._suffix(row))


class StyleGanWriter(_FolderWriter):
    """Folders of a thousand images, and ``dataset.json`` with their labels."""

    def finish(self, tables: Mapping[str, Iterable[str]]) -> None:
        """Writes the labels and the tables."""
        text = stylegan_labels(self._source, self._name)
        files.write_text(self._folder / "dataset.json", text)
        super().finish(tables)

    def _name(self, row: int) -> str:
        return f"{row // 1000:05d}/img{row:08d}{self._suffix(row)}"


class DatasetFolderWriter:
    """A dataset folder of ours, by the writer that makes generated ones."""

    by_identity = False
    needs_labels = True
    keeps_records = True
    is_file = False

    def __init__(
        self, folder: pathlib.Path, source: ImageSource, state: dict[str, Any] | None
    ) -> None:
        self.rows = state["rows"] if state else 0
        self._index = index_within(source.labels)
        self._identities = source.identities
        self._are_numbers = all(
            isinstance(who, int) and who >= 0 for who in source.identities
        )
        self._writer = ImageDatasetWriter(folder, settings={}, kind="converted")
        self._folder = folder

    def write(self, image: ConvertedImage) -> None:
        """Adds the image of the next row."""
        name = self._identities[image.label]
        key = (name if self._are_numbers else image.label), int(self._index[image.row])
        if key not in self._writer.done:
            record = {k: v for k, v in image.record.items() if k != "file_name"}
            record |= {"identity": key[0], "index": key[1]}
            record |= {"seed": image.record.get("seed")}
            record |= {"source_name": image.record["file_name"]}
            if not self._are_numbers:
                record["identity_name"] = str(name)
            self._writer.write(image.content, record)
        self.rows = image.row + 1

    def checkpoint(self) -> dict[str, Any]:
        """The writer's journal is the state; it tells torn images by their checksum."""
        return {"rows": self.rows}

    def finish(self, tables: Mapping[str, Iterable[str]]) -> None:
        """Completes the folder and writes the tables."""
        self._writer.finish()
        for name, lines in tables.items():
            files.write_lines(self._folder / name, lines)

    def close(self) -> None:
        self._writer.close()


class IdentityNames:
    """Names of images in a folder an identity, or in one where nobody is known."""

    def __init__(self, source: ImageSource) -> None:
        self._labels = source.labels if source.labelled else None
        self._index = index_within(source.labels)
        self._folders = identity_folders(source.identities)

    def of(self, row: int, suffix: str) -> str:
        """The path of an image, with ``/``."""
        if self._labels is None:
            return f"{row:08d}{suffix}"
        folder = self._folders[self._labels[row]]
        return f"{folder}/{self._index[row]:06d}{suffix}"


def index_within(labels: np.ndarray) -> np.ndarray:
    """The position of each image among those of its label, from 0.

    Args:
      labels: ``[n]`` int64, ``0 … k-1``.

    Returns:
      ``[n]`` int64.
    """
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    starts = np.searchsorted(ordered, ordered)
    index = np.empty(len(labels), np.int64)
    index[order] = np.arange(len(labels)) - starts
    return index


def identity_folders(identities: Sequence[Any]) -> list[str]:
    """A folder's name for each identity: its own where all can be, or else a number."""
    names = [str(identity) for identity in identities]
    # Some systems don't tell capitals apart.
    if len({name.casefold() for name in names}) == len(names):
        if all(map(_is_plain, names)):
            return names
    return [f"{label:06d}" for label in range(len(names))]


def metadata_lines(source: ImageSource, name: Callable[[int], str]) -> Iterator[str]:
    """The lines of ``metadata.jsonl`` for images whose source says who is who.

    Args:
      source: the images.
      name: the path of an image by its row.
    """
    who = list(source.identities)
    # Metadata hold numbers for all, or names.
    if not all(isinstance(identity, int) for identity in who):
        who = [str(identity) for identity in who]
    for row, record in enumerate(source.records):
        line = {
            **record,
            "file_name": name(row),
            "identity": who[source.labels[row]],
            "source_name": record["file_name"],
        }
        yield to_json(line) + "\n"


def stylegan_labels(source: ImageSource, name: Callable[[int], str]) -> str:
    """The text of StyleGAN's ``dataset.json``.

    Args:
      source: the images.
      name: the path of an image by its row.
    """
    labels = None
    if source.labelled:
        labels = [[name(row), int(label)] for row, label in enumerate(source.labels)]
    return to_json({"labels": labels}) + "\n"


def _is_plain(name: str) -> bool:
    return (
        bool(name)
        and name == name.strip()
        and not name.startswith(".")
        and not name.endswith(".")
        and name.isprintable()
        and not _NOT_IN_NAMES & set(name)
        and len(os.fsencode(name)) <= _LONGEST_NAME
    )
