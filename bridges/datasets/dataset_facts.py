"""What is to be said of a generated dataset: by its card, and by its Croissant."""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hyperface_jax import files

_ESCAPED = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})
CARD, CROISSANT, CHECKSUMS = "README.md", "croissant.json", "SHA256SUMS"


class FileFact(NamedTuple):
    """A file of a dataset.

    Attributes:
      name: its path in the dataset, with ``/``.
      size: bytes.
      sha256: of its content.
    """

    name: str
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class DatasetFacts:
    """A generated dataset in facts; what is not known is left out, never made up.

    Attributes:
      name: of the folder.
      format: a key of :data:`bridges.datasets.formats.writer.FORMATS`.
      identities: how many people.
      images: how many images, of all together.
      image_size: side in pixels.
      date: of its completion, ``2026-11-26``.
      models: ``name`` and ``sha256`` of ``generator`` and ``recogniser``.
      settings: all that its images depend on.
      licence: what the generator says of the use of its images, or None.
      groups: how many identities there are by value, by attribute.
      packing: the record of the references, or None.
      report: what gate and collision check did.
      files: all but the images themselves.
      created_with: of the program that made it, ``hyperface_jax`` (its version) and
        ``commit``, as far as they are known.
    """

    name: str
    format: str
    identities: int
    images: int
    image_size: int
    date: str
    models: Mapping[str, Mapping[str, str]]
    settings: Mapping[str, Any]
    licence: str | None
    groups: Mapping[str, Mapping[str, int]]
    packing: Mapping[str, Any] | None
    report: Mapping[str, Any]
    files: Sequence[FileFact]
    created_with: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def fact_of(path: pathlib.Path, folder: pathlib.Path) -> FileFact:
    """Size and digest of a file that is there."""
    name = path.relative_to(folder).as_posix()
    return FileFact(name, path.stat().st_size, files.sha256_of(path))


def checksum_lines(digests: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Lines of ``SHA256SUMS``, as ``sha256sum -c`` takes them.

    Args:
      digests: path, with ``/``, and SHA-256 of each file. A path with line breaks or
        backslashes is written as coreutils do: escaped, with a backslash before.
    """
    for name, sha256 in digests:
        escaped = name.translate(_ESCAPED)
        mark = "\\" if escaped != name else ""
        yield f"{mark}{sha256}  {escaped}\n"
