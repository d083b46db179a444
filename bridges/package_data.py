"""Files of other projects, read as data: never imported, always checked.

They lie inside installed packages, or were fetched once into the user's cache.
"""

import importlib.metadata
import os
import pathlib
import sys
from typing import NamedTuple

from bridges.cache_folders import is_writable, user_caches
from hyperface_jax import InputError, files

# Names the folder to keep files in, in place of the user's cache.
_VARIABLE = "HYPERFACE_CACHE"
_NAME = "hyperface_jax"


class PackageFile(NamedTuple):
    """A file of another project's package.

    Attributes:
      distribution: what ``pip install`` calls the package.
      path: of the file, below the folder that packages are installed in.
      sha256: of the content that was tested.
      remedy: what to run where the package is missing.
    """

    distribution: str
    path: str
    sha256: str
    remedy: str


def find(file: PackageFile) -> pathlib.Path:
    """Where a file is, after its content has been checked.

    Raises:
      InputError: the package is not installed, or holds another file than was tested.
    """
    try:
        found = importlib.metadata.distribution(file.distribution)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"{file.distribution}: not installed; run {file.remedy}"
        ) from None
    path = pathlib.Path(os.fspath(found.locate_file(file.path)))
    if not path.is_file():
        raise InputError(
            f"{path}: not in {file.distribution} {found.version}; run {file.remedy}"
        )
    check(path, file.sha256, file.remedy)
    return path


def check(path: pathlib.Path, sha256: str, remedy: str) -> None:
    """Refuses a file that is not the one that was tested.

    Args:
      path: of the file.
      sha256: of the content that was tested.
      remedy: what to run to have it.

    Raises:
      InputError: its content differs.
    """
    if files.sha256_of(path) != sha256:
        raise InputError(f"{path}: not the file that was tested; run {remedy}")


def find_kept(name: str, sha256: str, remedy: str) -> pathlib.Path:
    """Where a file is that a command here has fetched and kept.

    Args:
      name: of the file.
      sha256: of the content that was tested.
      remedy: what to run to have it.

    Raises:
      InputError: it is not there, or not the one that was tested.
    """
    for folder in _folders():
        if (folder / name).is_file():
            check(folder / name, sha256, remedy)
            return folder / name
    raise InputError(f"{name}: not there; run {remedy}")


def place_to_keep(name: str) -> pathlib.Path:
    """Where to write a file that :func:`find_kept` is to find.

    Raises:
      InputError: none of the folders can be written to.
    """
    for folder in _folders():
        if is_writable(folder):
            return folder / name
    raise InputError(
        f"{', '.join(map(str, _folders()))}: can't be written to; name a folder by "
        f"{_VARIABLE}"
    )


def _folders() -> list[pathlib.Path]:
    """The user's cache, and where the environment keeps what it shares."""
    if named := os.environ.get(_VARIABLE):
        return [pathlib.Path(named)]
    shared = pathlib.Path(sys.prefix) / "share"
    return [place / _NAME for place in (*user_caches(), shared)]
