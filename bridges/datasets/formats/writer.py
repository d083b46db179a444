"""What writes a format: the protocol, and the registry of formats by name."""

import importlib
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from bridges.datasets.image_source import ImageSource
from bridges.registry import Registry
from hyperface_jax import InputError


class ConvertedImage(NamedTuple):
    """An image on its way into another format.

    Attributes:
      row: its position in the output, from 0.
      content: the encoded bytes.
      suffix: of their format, with the dot.
      label: ``0 … k-1``; None where nothing says who is on it.
      record: what the source knows of it, at least ``file_name``.
    """

    row: int
    content: bytes
    suffix: str
    label: int | None
    record: dict[str, Any]


class FormatWriter(Protocol):
    """Writes one format, image by image, and can go on after a kill.

    Made with the working folder, the source and the state to go on from: what
    :meth:`checkpoint` returned last, or None at the beginning. What was written after
    that is cut off, or written again over itself.

    Attributes:
      by_identity: whether the format wants the images of a person together.
      needs_labels: whether it has no place for an image that shows nobody known.
      keeps_records: whether the format itself holds the source's records.
      is_file: whether it is one file, ``images`` in the working folder, not a folder.
    """

    by_identity: bool
    needs_labels: bool
    keeps_records: bool
    is_file: bool

    def __init__(
        self, folder: pathlib.Path, source: ImageSource, state: dict[str, Any] | None
    ) -> None:
        """Opens the working folder, which exists.

        Raises:
          InputError: the format can't hold this source.
        """

    @property
    def rows(self) -> int:
        """How many images are safe as of the state; writing goes on with that row."""

    def write(self, image: ConvertedImage) -> None:
        """Adds the image of the next row."""

    def checkpoint(self) -> dict[str, Any]:
        """Puts on the disk what was written; returns the state, JSON-ready."""

    def finish(self, tables: Mapping[str, Iterable[str]]) -> None:
        """Completes the files.

        Args:
          tables: the lines of the tables beside the images, by file name.
        """

    def close(self) -> None:
        """Closes the files, finished or not."""


FORMATS: Registry[type[FormatWriter]] = Registry(
    "format",
    {
        "folder": "bridges.datasets.formats.folder_writers:DatasetFolderWriter",
        "imagefolder": "bridges.datasets.formats.folder_writers:ImageFolderWriter",
        "stylegan": "bridges.datasets.formats.folder_writers:StyleGanWriter",
        "zip": "bridges.datasets.formats.zip_writer:ZipWriter",
        "recordio": "bridges.datasets.formats.recordio_writer:RecordIOWriter",
        "webdataset": "bridges.datasets.formats.webdataset_writer:WebDatasetWriter",
        "lmdb": "bridges.datasets.formats.lmdb_writer:LmdbWriter",
        "hugging_face": (
            "bridges.datasets.formats.hugging_face_writer:HuggingFaceWriter"
        ),
    },
)


def required(package: str) -> Any:
    """A package of the extra ``formats``.

    Raises:
      InputError: it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        raise InputError(
            f"this format needs the package {package}, which is missing; run "
            "pip install '.[formats]' in the clone of hyperface_jax"
        ) from None
