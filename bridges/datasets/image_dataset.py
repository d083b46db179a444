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
from collections.abc import Sequence

import numpy as np

from bridges.datasets.dataset_format import DESCRIPTION, METADATA, read_metadata
from bridges.datasets.dataset_writer import ImageDatasetWriter
from bridges.datasets.images import (
    IMAGE_SUFFIXES,
    encode_jpeg,
    read_images,
)
from hyperface_jax import InputError, files

__all__ = ["ImageDataset", "ImageDatasetWriter", "encode_jpeg"]


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
          InputError: no such folder, no image in it, images beside the identities'
            folders, an unfinished dataset, or metadata that name no identity.
        """
        self.folder = pathlib.Path(folder)
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: no such folder")
        self.labelled = True
        if (self.folder / METADATA).exists():
            self.records = read_metadata(self.folder / METADATA)
            who = [record["identity"] for record in self.records]
        elif (self.folder / DESCRIPTION).exists():
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
            elif "" in who:
                raise InputError(
                    f"{self.folder}: {who.count('')} of {len(who)} images lie beside "
                    f"the identities' folders, {names[who.index('')]} first; put them "
                    "into one, or elsewhere"
                )
        if not who:
            raise InputError(
                f"{self.folder}: no images in it; "
                f"known are {', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        # Numbers before names, should a folder have both.
        self.identities = sorted(set(who), key=lambda i: (isinstance(i, str), i))
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
        """SHA-256 over names, labels and the files' bytes.

        Raises:
          InputError: a listed image is missing.
        """
        digest = hashlib.sha256()
        for path, record, label in zip(
            self.paths, self.records, self.labels, strict=True
        ):
            try:
                content = files.sha256_of(path)
            except (FileNotFoundError, IsADirectoryError):
                raise InputError(f"{path}: no such image, though listed") from None
            digest.update(f"{record['file_name']} {label} {content}\n".encode())
        return digest.hexdigest()


def _image_names(folder: pathlib.Path) -> list[str]:
    names = []
    for place, inside, found in os.walk(folder, followlinks=True):
        inside[:] = [name for name in inside if _is_entered(pathlib.Path(place, name))]
        paths = [pathlib.Path(place, name) for name in found if name[0] != "."]
        names += [
            path.relative_to(folder).as_posix()
            for path in paths
            if path.suffix.lower() in IMAGE_SUFFIXES
        ]
    return sorted(names)


def _is_entered(folder: pathlib.Path) -> bool:
    """Whether images are looked for there: not where systems hide theirs."""
    if folder.name.startswith(".") or folder.name == "__MACOSX":
        return False
    # A link to a folder it lies in would lead around for ever.
    above = (parent.resolve() for parent in folder.parents)
    return not folder.is_symlink() or folder.resolve() not in above
