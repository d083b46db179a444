"""The image source: encoded images by position, whatever they are stored in.

A folder is one; an archive is another. To read a format of your own, register what
opens a file of its suffix before calling a function that reads images, or add an entry
to :data:`IMAGE_SOURCES` below to give it to the commands too::

    import numpy as np
    from bridges.datasets.image_source import IMAGE_SOURCES
    from hyperface_jax import InputError, files

    class Faces:
        \"""JPEG files in an .npz, one array of bytes each.\"""

        labelled = False

        def __init__(self, path, *, identity_from):
            self.name, self._arrays = str(path), dict(np.load(path))
            self.identities = sorted(self._arrays)
            self.labels = np.arange(len(self.identities))
            self.records = [{"file_name": name} for name in self.identities]

        def __len__(self):
            return len(self.identities)

        def read(self, index):
            return self._arrays[self.identities[index]].tobytes()

        def fingerprint(self):
            return files.sha256_of(self.name)

    IMAGE_SOURCES.register(".npz", Faces)
"""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from bridges.datasets.identity_folders import AUTO
from bridges.registry import Registry
from hyperface_jax import InputError, files
from hyperface_jax.commands import announce

# Where hyperface-convert writes until it is done, and hyperface-generate.
UNFINISHED, GENERATION = ".unfinished", ".generation"
_UNFINISHED = {GENERATION: "hyperface-generate", UNFINISHED: "hyperface-convert"}
# As many names as a line has room for.
_NAMED = 3


class ImageSource(Protocol):
    """Images with what is known of each.

    Instances are sent to worker processes, so they must pickle; one that holds a file
    open opens it again there. :meth:`read` may be called by several threads at a time.

    A source may also have ``left_out``, names by the reason why they do not count;
    ``unreadable``, the reason by name of what could not be listed; and ``advice``, how
    more could be read of it. All are reported.

    Attributes:
      name: the folder or file, for messages.
      labels: ``[n]`` int64 in ``0 … k-1``: image i shows ``identities[labels[i]]``.
      identities: ``k`` names or numbers.
      labelled: False where nothing says who is on an image; the labels mean nothing.
      records: ``n`` dicts: the metadata, at least ``file_name``.
    """

    name: str
    labels: np.ndarray
    identities: Sequence[Any]
    labelled: bool
    records: Sequence[dict[str, Any]]

    def __len__(self) -> int:
        """The number of images ``n``."""

    def read(self, index: int) -> bytes:
        """The encoded bytes of an image, in any format that Pillow decodes.

        Raises:
          UnreadableImage: they can't be read; names the image.
        """

    def fingerprint(self) -> str:
        """SHA-256 that changes with the names, the labels and the images' bytes."""


_FORMATS = "bridges.datasets.formats"
# What opens a folder, and files by their suffix in lower case. Each is called with a
# path and identity_from, which sources that say who is who themselves ignore.
IMAGE_SOURCES: Registry[Callable[..., ImageSource]] = Registry(
    "image source",
    {
        "folder": "bridges.datasets.image_dataset:ImageDataset",
        ".bin": "bridges.datasets.bin_file:BinFile",
        ".rec": f"{_FORMATS}.recordio:RecordIO",
        ".tar": f"{_FORMATS}.webdataset:WebDataset",
        ".tgz": f"{_FORMATS}.webdataset:WebDataset",
        ".gz": f"{_FORMATS}.webdataset:WebDataset",
        ".zip": f"{_FORMATS}.zip_file:ZipFile",
        ".mdb": f"{_FORMATS}.lmdb_file:LmdbFile",
        ".lmdb": f"{_FORMATS}.lmdb_file:LmdbFile",
        "hugging face": f"{_FORMATS}.hugging_face:SavedDataset",
        "stylegan": f"{_FORMATS}.stylegan:StyleGanFolder",
    },
)
# Folders that hold something else than a file an image, in the order of asking: what
# opens them, an entry above, and what tells by the files in them.
FOLDER_MARKERS: Registry[Callable[[pathlib.Path], bool]] = Registry(
    "kind of folder",
    {
        ".lmdb": f"{_FORMATS}.folder_markers:has_lmdb",
        "hugging face": f"{_FORMATS}.folder_markers:has_saved_dataset",
        ".rec": f"{_FORMATS}.folder_markers:has_record_file",
        ".tar": f"{_FORMATS}.folder_markers:has_shards",
        "stylegan": f"{_FORMATS}.folder_markers:has_stylegan_labels",
    },
)


def open_images(
    path: str | os.PathLike[str], *, identity_from: str = AUTO
) -> ImageSource:
    """Opens a folder or file of images and reports what was found on standard error.

    Args:
      path: a folder, of images or one that :data:`FOLDER_MARKERS` know, or a file with
        a suffix in :data:`IMAGE_SOURCES`.
      identity_from: what says who is on an image of a folder without metadata, a key
        of :data:`bridges.datasets.identity_folders.IDENTITY_FROM`; or the catalogue
        whose layout it has, a key of
        :data:`bridges.datasets.catalogues.catalogue.CATALOGUES`.

    Raises:
      InputError: as :class:`bridges.datasets.image_dataset.ImageDataset`, which also
        refuses files of other suffixes; a conversion that is unfinished.
    """
    path = pathlib.Path(files.path_of(path))
    for sign, what in _UNFINISHED.items():
        if (path / sign).exists():
            raise InputError(
                f"{path}: unfinished; run {what} again as before, it goes on where it "
                "stopped"
            )
    kind = _kind_of(path)
    if kind == "stylegan" and identity_from != AUTO:
        # Its images are files in folders, too, and may be told apart by those.
        kind = "folder"
    source = IMAGE_SOURCES[kind](path, identity_from=identity_from)
    for line in describe(source):
        announce(line)
    return source


def _kind_of(path: pathlib.Path) -> str:
    """The entry of :data:`IMAGE_SOURCES` that opens a path."""
    suffix = path.suffix.lower()
    if not path.is_dir():
        return suffix if suffix in IMAGE_SOURCES else "folder"
    kinds = (kind for kind in FOLDER_MARKERS if FOLDER_MARKERS[kind](path))
    return next(kinds, "folder")


def describe(source: ImageSource) -> list[str]:
    """What was found in a source and what was left out, in lines."""
    lines = [f"{source.name}: {_count(len(source), 'image', 'images')}"]
    if source.labelled:
        people = _count(len(source.identities), "person", "people")
        lines = [f"{lines[0]} of {people}: {_some(source.identities)}"]
    for reason, names in sorted(getattr(source, "left_out", {}).items()):
        lines.append(
            f"{source.name}: left out {len(names):,}, {reason}: {_some(names)}"
        )
    if advice := getattr(source, "advice", ""):
        lines.append(f"{source.name}: {advice}")
    return lines


def _some(names: Sequence[Any]) -> str:
    """The first of them."""
    return ", ".join(map(str, names[:_NAMED])) + (", …" if len(names) > _NAMED else "")


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
