"""Files inside installed packages, read as data: never imported, always checked."""

import importlib.metadata
import os
import pathlib
from typing import NamedTuple

from hyperface_jax import InputError, files


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
