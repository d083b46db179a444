"""``SHA256SUMS`` of a folder: written once it is finished, compared when it is used.

The lines are those of ``sha256sum``, which checks them, too (``-c SHA256SUMS``).
"""

import hashlib
import os
import pathlib
import re
from collections.abc import Iterable, Mapping

from bridges.datasets.dataset_facts import CHECKSUMS, checksum_lines
from hyperface_jax import InputError, files

PathLike = str | os.PathLike[str]
# A backslash before means that those in the name are doubled, and line breaks are \n.
_LINE = re.compile(r"(\\?)([0-9a-fA-F]{64}) [ *](.+)")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "r": "\r"}


def write_checksums(folder: PathLike, names: Iterable[str]) -> pathlib.Path:
    """Writes ``SHA256SUMS``, whole or not at all.

    Args:
      folder: that the files are in.
      names: the files below it, with ``/``.

    Returns:
      The file written.
    """
    path = pathlib.Path(folder) / CHECKSUMS
    digests = ((name, files.sha256_of(path.parent / name)) for name in names)
    files.write_lines(path, checksum_lines(digests))
    return path


def read_checksums(folder: PathLike) -> dict[str, str] | None:
    """The SHA-256 of files by their names below a folder; None where it has none.

    Raises:
      InputError: a line of ``SHA256SUMS`` that is none of ``sha256sum``.
    """
    path = pathlib.Path(folder) / CHECKSUMS
    if not path.is_file():
        return None
    found = {}
    text = path.read_text("utf-8", "surrogateescape")
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise InputError(
                f"{path}: line {number} is no checksum and name; restore the file, or "
                "remove it to use the folder as it is"
            )
        escaped, digest, name = match.groups()
        if escaped:
            name = _ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[1]), name)
        found[name] = digest.lower()
    return found


def check_content(
    folder: PathLike, digests: Mapping[str, str], name: str, content: bytes
) -> None:
    """Refuses a file whose content is not what was written down.

    Args:
      folder: for the message.
      digests: as :func:`read_checksums` returns them.
      name: of the file; one that has no digest passes.
      content: its bytes.

    Raises:
      InputError: the content is another.
    """
    wanted = digests.get(name)
    if wanted is not None and wanted != hashlib.sha256(content).hexdigest():
        raise InputError(
            f"{os.fspath(folder)}: {name} was changed since {CHECKSUMS} was written; "
            f"restore it, or make the set again, or remove {CHECKSUMS} to use it as it "
            "is"
        )
