"""Lists of pairs as LFW and RFW hand them out, beside the images or above them.

::

    10<tab>300                              folds, and pairs of each kind in a fold
    Ann_Lee<tab>1<tab>4                     images 1 and 4 of one person
    …                                       300 such lines, then
    Ann_Lee<tab>1<tab>Bob_Orr<tab>2         images of two people
    …                                       300 such lines, then the next fold

Image 4 of Ann_Lee is ``Ann_Lee/Ann_Lee_0004.jpg``. A header of one number, as in
``pairsDevTest.txt``, says how many pairs of each kind there are in one fold; RFW's
lists have none. Both are read as ten folds, the pairs of each kind in their order.
"""

import pathlib
import posixpath
from collections import Counter
from typing import Any, NamedTuple

from bridges.datasets.folder_listing import list_images
from hyperface_jax import InputError

_LFW, _RFW = "pairs.txt", "txts/*/*_pairs.txt"
SUFFIX = ".txt"
_FOLDS = 10
_EXPECTED = "expected name, image, image, or name, image, name, image, parted by tabs"


class _Pair(NamedTuple):
    """A line: two images, each a person and a number."""

    line: int
    first: tuple[str, int]
    second: tuple[str, int]

    @property
    def same(self) -> bool:
        return self.first[0] == self.second[0]


def pair_lists(folder: pathlib.Path) -> list[pathlib.Path]:
    """The lists of a folder: LFW's one, or RFW's for each ethnicity; empty for none."""
    if (folder / _LFW).is_file():
        return [folder / _LFW]
    found = [path for path in sorted(folder.glob(_RFW)) if path.is_file()]
    return [path for path in found if _is_of_group(path)]


def read_pair_lists(
    folder: pathlib.Path, lists: list[pathlib.Path]
) -> dict[pathlib.Path, list[dict[str, Any]]]:
    """Reads the pairs and finds their images; opens none.

    Args:
      folder: holds the images, in folders of any depth.
      lists: of the pairs. Each of RFW's is of a demographic group, which it and its
        folder are named after.

    Returns:
      By list, a dictionary per pair as a line of ``pairs.csv`` gives it: ``first``,
      ``second``, ``same``, ``fold``, ``line`` and, in RFW, ``group``. An image that is
      not there has the path it should have.

    Raises:
      InputError: a line that is no pair, a header that does not fit the lines, no image
        at all, or two images of one name.
    """
    paths = _images_by_name(folder)
    rows = {path: _rows(path, paths) for path in lists}
    there = set(paths.values())
    for path, found in rows.items():
        if not any(row["first"] in there or row["second"] in there for row in found):
            raise InputError(
                f"{path}: of the images in its pairs none is below {folder}, "
                f"{found[0]['first']} first; put the people's folders there"
            )
        if _is_of_group(path):
            for row in found:
                row["group"] = path.parent.name.lower()
    return rows


def _is_of_group(path: pathlib.Path) -> bool:
    return path.name == f"{path.parent.name}_pairs.txt"


def _rows(path: pathlib.Path, paths: dict[str, str]) -> list[dict[str, Any]]:
    header, pairs = _read(path)
    return [
        {
            "first": _path_of(pair.first, paths),
            "second": _path_of(pair.second, paths),
            "same": str(int(pair.same)),
            "fold": str(fold),
            "line": pair.line,
        }
        for pair, fold in zip(pairs, _folds(path, header, pairs), strict=True)
    ]


def _images_by_name(folder: pathlib.Path) -> dict[str, str]:
    """Paths below the folder by the name of person and image, ``Ann/Ann_0001``."""
    paths: dict[str, str] = {}
    for name in list_images(folder).images:
        parts = posixpath.splitext(name)[0].split("/")
        key = "/".join(parts[-2:])
        if key in paths:
            raise InputError(
                f"{folder}: {paths[key]} and {name} are both the image that lists of "
                "pairs call so; leave one of the two copies there"
            )
        paths[key] = name
    return paths


def _path_of(image: tuple[str, int], paths: dict[str, str]) -> str:
    person, number = image
    key = f"{person}/{person}_{number:04d}"
    return paths.get(key, f"{key}.jpg")


def _read(path: pathlib.Path) -> tuple[list[int], list[_Pair]]:
    """The numbers of the header, may be none, and the pairs."""
    # Names of files need not be UTF-8.
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    header: list[int] = []
    pairs: list[_Pair] = []
    for number, line in enumerate(text.split("\n"), start=1):
        values = line.split("\t") if "\t" in line else line.split()
        values = [value.strip() for value in values]
        if not any(values):
            continue
        if not pairs and not header and len(values) < 3 and all(map(_number, values)):
            header = [int(value) for value in values]
            continue
        pairs.append(_pair(path, number, values))
    if not pairs:
        raise InputError(f"{path}: no pairs in it")
    return header, pairs


def _pair(path: pathlib.Path, line: int, values: list[str]) -> _Pair:
    numbers = values[1:3] if len(values) == 3 else values[1::2]
    people = [values[0], values[-2] if len(values) == 4 else values[0]]
    plain = all(
        person and "/" not in person and "\0" not in person and person != ".."
        for person in people
    )
    if len(values) not in (3, 4) or not plain or not all(map(_number, numbers)):
        raise InputError(f"{path}: line {line} is no pair; {_EXPECTED}")
    if len(values) == 4 and people[0] == people[1]:
        raise InputError(
            f"{path}: line {line} has images of two people, but names {people[0]} "
            "twice; correct it"
        )
    first, second = zip(people, map(int, numbers), strict=True)
    return _Pair(line, first, second)


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _folds(path: pathlib.Path, header: list[int], pairs: list[_Pair]) -> list[int]:
    """The fold of each pair."""
    kinds = Counter(pair.same for pair in pairs)
    if header:
        folds, each = ([1, *header])[-2:]
        if kinds[True] != folds * each or kinds[False] != folds * each:
            raise InputError(
                f"{path}: its first line says {folds * each} pairs of one person and "
                f"as many of two, but there are {kinds[True]} and {kinds[False]}; get "
                "the whole file"
            )
        if folds > 1:
            return _stated_folds(path, each, pairs)
    seen: Counter[bool] = Counter()
    result = []
    for pair in pairs:
        result.append(seen[pair.same] * _FOLDS // kinds[pair.same])
        seen[pair.same] += 1
    return result


def _stated_folds(path: pathlib.Path, each: int, pairs: list[_Pair]) -> list[int]:
    """Blocks of as many lines as the header says, with both kinds in equal number."""
    for start in range(0, len(pairs), 2 * each):
        block = pairs[start : start + 2 * each]
        if sum(pair.same for pair in block) != each:
            raise InputError(
                f"{path}: lines {block[0].line} to {block[-1].line} should be a fold "
                f"of {each} pairs of one person and {each} of two; get the whole file"
            )
    return [index // (2 * each) for index in range(len(pairs))]
