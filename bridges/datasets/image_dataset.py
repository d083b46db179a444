"""The image dataset folder: written image by image, resumable, and read whole.

::

    images/000000/000000_000.jpg    identity 0, image 0
    metadata.jsonl                  a line per image: file_name, identity, index, seed …
    dataset.json                    settings, counts, what made it, complete

Hugging Face ``imagefolder`` reads the same folder as it is. While it is being made,
``journal.jsonl`` takes the place of ``metadata.jsonl``.
"""

import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bridges.datasets.dataset_format import DESCRIPTION, METADATA, read_metadata
from bridges.datasets.dataset_writer import ImageDatasetWriter
from bridges.datasets.folder_listing import list_images
from bridges.datasets.identity_folders import AUTO, IDENTITY_FROM, identities_of
from bridges.datasets.images import encode_jpeg, read_images, unreadable_images
from bridges.datasets.unreadable import refuse_or_skip
from hyperface_jax import InputError, files
from hyperface_jax.commands import announce

__all__ = ["ImageDataset", "ImageDatasetWriter", "encode_jpeg", "open_images"]

PathLike = str | os.PathLike[str]
# As many names as a line has room for.
_NAMED = 3


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
      left_out: paths in the folder that do not count, by the reason.
      unreadable: paths of folders and links that can't be followed, and why not.
    """

    def __init__(self, folder: PathLike, *, identity_from: str = AUTO) -> None:
        """Lists the folder; reads no image.

        Args:
          folder: the folder.
          identity_from: what says who is on an image where there is no metadata, a
            key of :data:`bridges.datasets.identity_folders.IDENTITY_FROM`.

        Raises:
          InputError: no such folder, no image in it, folders that leave it open who is
            who, an unfinished dataset, or metadata that name no identity.
        """
        if identity_from not in IDENTITY_FROM:
            raise InputError(
                f"identity_from is {identity_from!r}, expected one of "
                f"{', '.join(IDENTITY_FROM)}"
            )
        self.folder = _checked(folder)
        self.left_out: dict[str, list[str]] = {}
        self.unreadable: dict[str, str] = {}
        # A link that leads nowhere is refused, not passed over.
        if identity_from == AUTO and os.path.lexists(self.folder / METADATA):
            records = read_metadata(self.folder / METADATA)
            who = [record["identity"] for record in records]
            if not (self.folder / DESCRIPTION).exists():
                self._leave_out_unnamed(records)
        elif identity_from == AUTO and (self.folder / DESCRIPTION).exists():
            raise InputError(
                f"{self.folder}: the dataset is unfinished; run the command that was "
                "making it again, it goes on where it stopped"
            )
        else:
            records, who = self._from_folders(identity_from)
        self.labelled = who is not None
        self._take(records, who or [record["file_name"] for record in records])
        if not records and not self.unreadable:
            raise InputError(f"{self.folder}: no images in it{self._told_left_out()}")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def name(self) -> str:
        """The folder, for messages."""
        return os.fspath(self.folder)

    def read(self, index: int) -> bytes:
        """The bytes of an image's file."""
        return self.paths[index].read_bytes()

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

    def check(self, *, skip_unreadable: bool = False) -> dict[str, str]:
        """Decodes every image, before work that a damaged one would end in the middle.

        Args:
          skip_unreadable: leave out what can't be read instead of refusing it.

        Returns:
          What was left out: path below the folder to reason.

        Raises:
          InputError: names all that can't be read; or nothing is left.
        """
        found = unreadable_images(self.paths)
        names = [record["file_name"] for record in self.records]
        reasons = {**self.unreadable, **{names[i]: why for i, why in found.items()}}
        total = len(self) + len(self.unreadable)
        refuse_or_skip(reasons, total, self.folder, skip_unreadable)
        kept = [i for i in range(len(self)) if i not in found]
        if not kept:
            raise InputError(f"{self.folder}: no image in it can be read")
        self.unreadable = {}
        if found:
            who = [self.identities[self.labels[i]] for i in kept]
            self._take([self.records[i] for i in kept], who)
        return reasons

    def fingerprint(self) -> str:
        """SHA-256 over names, labels and the files' bytes.

        What can't be read counts as such; :meth:`check` tells.
        """
        digest = hashlib.sha256()
        for path, record, label in zip(
            self.paths, self.records, self.labels, strict=True
        ):
            try:
                # A device or a pipe may have no end.
                content = "" if files.is_stream(path) else files.sha256_of(path)
            except (OSError, ValueError):  # a name with a null byte
                content = "unreadable"
            line = f"{record['file_name']} {label} {content}\n"
            digest.update(line.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def describe(self) -> list[str]:
        """What was found in the folder and what was left out, in lines."""
        lines = [f"{self.folder}: {_count(len(self), 'image', 'images')}"]
        if self.labelled:
            people = _count(len(self.identities), "person", "people")
            some = ", ".join(map(str, self.identities[:_NAMED]))
            more = ", …" if len(self.identities) > _NAMED else ""
            lines = [f"{lines[0]} of {people}: {some}{more}"]
        for reason, names in sorted(self.left_out.items()):
            more = ", …" if len(names) > _NAMED else ""
            some = ", ".join(names[:_NAMED])
            lines.append(
                f"{self.folder}: left out {len(names):,}, {reason}: {some}{more}"
            )
        return lines

    def _take(self, records: list[dict[str, Any]], who: Sequence[Any]) -> None:
        self.records = records
        # Numbers before names, should a folder have both.
        self.identities = sorted(set(who), key=lambda i: (isinstance(i, str), i))
        position = {identity: i for i, identity in enumerate(self.identities)}
        self.labels = np.array([position[identity] for identity in who], np.int64)
        self.paths = [self.folder / record["file_name"] for record in records]

    def _from_folders(
        self, identity_from: str
    ) -> tuple[list[dict[str, Any]], list[str] | None]:
        """Records and identities of a folder without metadata."""
        found = list_images(self.folder)
        self.left_out, self.unreadable = found.left_out, found.unreadable
        if found.metadata and identity_from == AUTO:
            remedy = (
                "give that folder"
                if "/" in found.metadata[0]
                else f"write it as {METADATA}, lines of file_name and identity"
            )
            raise InputError(
                f"{self.folder}: {found.metadata[0]} says who is on the images beside "
                f"it; {remedy}, or --identity_from=top, last or path to go by the "
                "names of folders"
            )
        records = [{"file_name": name} for name in found.images]
        return records, identities_of(found.images, identity_from, str(self.folder))

    def _leave_out_unnamed(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Notes images that the metadata, not of our making, say nothing of."""
        named = {os.path.normpath(record["file_name"]) for record in records}
        found = list_images(self.folder).images
        unnamed = [name for name in found if os.path.normpath(name) not in named]
        if unnamed:
            self.left_out[f"not in {METADATA}"] = unnamed

    def _told_left_out(self) -> str:
        told = [f"{len(n)} left out, {why}" for why, n in sorted(self.left_out.items())]
        return f" ({'; '.join(told)})" if told else ""


def open_images(folder: PathLike, *, identity_from: str = AUTO) -> ImageDataset:
    """Opens a folder of images and says on standard error what was found in it.

    Args:
      folder: as for :class:`ImageDataset`.
      identity_from: likewise.

    Raises:
      InputError: as :class:`ImageDataset`.
    """
    dataset = ImageDataset(folder, identity_from=identity_from)
    for line in dataset.describe():
        announce(line)
    return dataset


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _checked(folder: PathLike) -> pathlib.Path:
    """The folder, if it is one."""
    folder = pathlib.Path(files.path_of(folder))
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError(
            f"{folder}: is a file, expected a folder of images; unpack an archive, or "
            "put a single image into a folder, and give that"
        )
    raise InputError(f"{folder}: no such folder")
