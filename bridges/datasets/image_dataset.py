"""The image dataset folder: written image by image, resumable, and read whole.

::

    images/000000/000000_000.jpg    identity 0, image 0
    metadata.jsonl                  a line per image: file_name, identity, index, seed …
    dataset.json                    settings, counts, what made it, complete

Hugging Face ``imagefolder`` reads the same folder as it is. While it is being made,
``journal.jsonl`` takes the place of ``metadata.jsonl``.
"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from bridges.datasets.catalogues.catalogue import CATALOGUES
from bridges.datasets.catalogues.recognition import recognise
from bridges.datasets.dataset_writer import ImageDatasetWriter
from bridges.datasets.folder_layouts import read_folder
from bridges.datasets.identity_folders import AUTO, check_identity_from
from bridges.datasets.image_files import ImageFiles
from bridges.datasets.image_source import open_images
from bridges.datasets.images import encode_jpeg, load_images
from hyperface_jax import InputError, files

__all__ = ["ImageDataset", "ImageDatasetWriter", "encode_jpeg", "open_images"]

PathLike = str | os.PathLike[str]


class ImageDataset(ImageFiles):
    """Images and identities of a folder, of ours or of any usual layout.

    Read are: a dataset folder as described above; a tree with a folder per identity;
    a flat folder of images, where nothing says who is who; and the folders of
    published catalogues.

    Attributes:
      folder: the folder.
      paths: ``n`` files.
      labels: ``[n]`` int64 in ``0 … k-1``; ``0 … n-1`` in a flat folder.
      identities: ``k`` names or numbers; image i shows ``identities[labels[i]]``.
      records: ``n`` dicts: the metadata, at least ``file_name``.
      labelled: False for a flat folder, whose labels mean nothing.
      left_out: paths in the folder that do not count, by the reason.
      unreadable: paths of folders and links that can't be followed, and why not.
      advice: how more could be read of the folder; may be empty.
    """

    def __init__(self, folder: PathLike, *, identity_from: str = AUTO) -> None:
        """Lists the folder; reads no image.

        Args:
          folder: the folder.
          identity_from: what says who is on an image where there is no metadata, a
            key of :data:`bridges.datasets.identity_folders.IDENTITY_FROM`; or the
            catalogue whose layout the folder has, a key of
            :data:`bridges.datasets.catalogues.catalogue.CATALOGUES`.

        Raises:
          InputError: no such folder, no image in it, folders that leave it open who is
            who, an unfinished dataset, metadata that name no identity, or a folder
            that is not of the catalogue.
        """
        folder = _checked(folder)
        if identity_from in CATALOGUES:
            found = CATALOGUES[identity_from](folder)
        else:
            check_identity_from(identity_from, *CATALOGUES)
            found = read_folder(folder, identity_from)
        super().__init__(folder, found.records, found.who)
        self.left_out = found.left_out
        self.unreadable = found.unreadable
        self.advice = ""
        if identity_from == AUTO and not self.labelled:
            catalogue = recognise([record["file_name"] for record in self.records])
            if catalogue:
                self.advice = (
                    "the images are named as in a published catalogue; "
                    f"--identity_from={catalogue} reads what their names say"
                )
        if not self.records and not self.unreadable:
            told = [
                f"{len(names)} left out, {why}"
                for why, names in sorted(self.left_out.items())
            ]
            rest = f" ({'; '.join(told)})" if told else ""
            raise InputError(f"{self.folder}: no images in it{rest}")

    def load(
        self,
        size: int | None = None,
        indices: Sequence[int] | np.ndarray | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Reads images into memory; see :func:`bridges.datasets.images.load_images`."""
        return load_images(self, size, indices, progress=progress)


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
