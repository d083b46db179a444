"""What writes a format, and how to add one.

A writer is a class with the members of :class:`FormatWriter`; a line in
:data:`FORMATS` makes it a value of ``hyperface-convert --format``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from bridges.registry import Registry


class FormatWriter(Protocol):
    """Takes images one by one.

    Attributes:
      done: how many of the first images an earlier run has written already; they are
        not given again.
    """

    done: int

    def write(self, content: bytes, label: int, record: dict[str, Any]) -> None:
        """Adds an image.

        Args:
          content: encoded.
          label: the number of the person, ``0 … k-1``.
          record: what is known of it; ``file_name`` is unique, its folder the person's
            and its suffix that of the content.
        """

    def finish(self, labels: list[int], names: list[str]) -> None:
        """Ends the work; only now may there be anything that looks finished.

        Args:
          labels: of all images.
          names: ``file_name`` of all.
        """

    def close(self) -> None:
        """Releases what is open, also after a failure."""


class Format(NamedTuple):
    """A format.

    Attributes:
      make: called with the place, a folder that exists or a file to be, and, where
        ``numbers_people``, with ``num_people=``.
      what: it is, as ``--help`` says it.
      numbers_people: whether the number of people has to be known first.
      is_file: whether the place is a file.
    """

    make: Callable[..., FormatWriter]
    what: str
    numbers_people: bool = False
    is_file: bool = False


def _format(module: str, name: str, what: str, **options: bool) -> Format:
    def make(*arguments: Any, **more: Any) -> FormatWriter:
        # Imported when asked for: some need packages that not everybody has.
        import importlib

        found = importlib.import_module(f"bridges.datasets.formats.{module}")
        return getattr(found, name)(*arguments, **more)

    return Format(make, what, **options)


FORMATS: Registry[Format] = Registry(
    "format",
    {
        "folder": _format("tree", "TreeWriter", "a folder a person"),
        "recordio": _format(
            "recordio",
            "RecordWriter",
            "train.rec, .idx, .lst and property, as insightface trains on",
            numbers_people=True,
        ),
        "webdataset": _format("tar_shards", "TarWriter", "tar shards of 10,000 images"),
        "lmdb": _format(
            "lmdb_folder",
            "LmdbWriter",
            "data.mdb in Vec2Face's layout",
            numbers_people=True,
        ),
        "datasets": _format(
            "hugging_face",
            "HuggingFaceWriter",
            "Hugging Face's datasets, as load_from_disk reads",
        ),
        "stylegan": _format(
            "stylegan", "StyleganWriter", "images and dataset.json for StyleGAN2-ADA"
        ),
        "zip": _format("zip_file", "ZipWriter", "one zip", is_file=True),
    },
)
