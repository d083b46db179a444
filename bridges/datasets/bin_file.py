"""insightface's ``.bin``: the pairs of a verification set in one pickled file.

A pickle of ``(images, same)``: two encoded images a pair, one pair after the other, and
whether each pair shows one person. The ten folds are contiguous tenths of the pairs.
"""

import os
import pathlib
import pickle
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bridges.datasets.plain_pickle import PickleError, load_plain
from hyperface_jax import InputError, files

SUFFIX = ".bin"
NUM_FOLDS = 10
# All versions of Python 3 read it, and it holds bytes as they are.
_PROTOCOL = 4
_REMEDY = "download it again, or make it anew by hyperface-convert --format=bin"


class BinFile:
    """The images of a file, each content once; an image source.

    Attributes:
      name: the file.
      pairs: ``[p, 2]`` int64, positions in the images.
      same: ``[p]`` bool, whether the pair shows one person.
      labels: ``[n]`` int64, ``0 … n-1``: nothing says who is on an image.
      identities: the images' names.
      records: ``n`` dicts, with ``file_name`` alone: the number of the image's first
        place in the file.
    """

    labelled = False

    def __init__(
        self, path: str | os.PathLike[str], *, identity_from: str = ""
    ) -> None:
        """Reads the file; decodes no image.

        Args:
          path: of the file.
          identity_from: ignored: the file does not say who is who.

        Raises:
          InputError: no such file, no pickle of this kind, or one that could run
            something.
        """
        del identity_from
        self._path = pathlib.Path(files.path_of(path))
        self.name = os.fspath(self._path)
        images, self.same = _read(self._path)
        # Python keeps the hash of bytes, so content that a file names often costs once.
        first: dict[bytes, int] = {}
        for content in images:
            first.setdefault(content, len(first))
        self._images = list(first)
        place = [first[content] for content in images]
        _, at = np.unique(place, return_index=True)
        names = [f"{number:05d}" for number in at.tolist()]
        self.pairs = np.array(place, np.int64).reshape(-1, 2)
        self.records = [{"file_name": name} for name in names]
        self.identities, self.labels = names, np.arange(len(names))

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int) -> bytes:
        """The encoded bytes of an image."""
        return self._images[index]

    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        return files.sha256_of(self._path)

    def __getstate__(self) -> dict[str, Any]:
        # Another process reads the file again.
        return {"path": self._path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])


def write_bin(
    path: str | os.PathLike[str], images: Iterable[bytes], same: Sequence[bool]
) -> None:
    """Writes a file, whole or not at all.

    Args:
      path: of the file.
      images: ``2 p`` encoded images, JPEG or PNG, in the order of the pairs.
      same: ``p`` truth values.

    Raises:
      InputError: not two images a pair.
    """
    images, same = [bytes(each) for each in images], [bool(each) for each in same]
    if len(images) != 2 * len(same):
        raise InputError(
            f"{path}: {len(images)} images for {len(same)} pairs, expected two a pair"
        )
    files.write_bytes(path, pickle.dumps((images, same), _PROTOCOL))


def contiguous_folds(num_pairs: int, folds: int = NUM_FOLDS) -> np.ndarray:
    """The fold of each pair ``[p]``: contiguous parts, the first ones larger by one."""
    parts = np.array_split(np.arange(num_pairs), folds)
    return np.repeat(np.arange(folds), [len(part) for part in parts])


def _read(path: pathlib.Path) -> tuple[list[bytes], np.ndarray]:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {what}, expected a {SUFFIX} file of pairs")
    try:
        found = load_plain(path.read_bytes())
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise PickleError("no pair of images and truth values")
        images, same = (_listed(part) for part in found)
        same = [_truth(each) for each in same]
        contents = {id(each): _content(each) for each in images}
        images = [contents[id(each)] for each in images]
    except PickleError as error:
        raise InputError(f"{path}: {error}; {_REMEDY}") from None
    if len(images) != 2 * len(same):
        raise InputError(
            f"{path}: {len(images)} images for {len(same)} pairs, expected two a pair; "
            f"{_REMEDY}"
        )
    if not same:
        raise InputError(f"{path}: no pairs in it; {_REMEDY}")
    return images, np.array(same)


def _listed(part: Any) -> list[Any]:
    if isinstance(part, np.ndarray):
        part = list(part)
    if not isinstance(part, list | tuple):
        raise PickleError("no lists of images and truth values")
    return list(part)


def _truth(value: Any) -> bool:
    if isinstance(value, int | np.integer | np.bool_) and int(value) in (0, 1):
        return bool(value)
    raise PickleError(f"{str(value)[:20]!r} where a pair is one person's or not")


def _content(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, np.ndarray) and value.dtype.itemsize == 1:
        # As cv2.imencode gives them: one row, or one column.
        return value.tobytes()
    raise PickleError(f"an image of {type(value).__name__}, expected bytes")
