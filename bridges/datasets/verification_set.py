"""The verification set folder: images and the pairs to tell apart.

::

    images/…                        as in a dataset folder, metadata.jsonl beside
    pairs.csv                       first,second,same,fold[,group]

``first`` and ``second`` are paths relative to the folder, ``same`` is 1 for two images
of one person and 0 for two people, ``fold`` is 0 … 9. ``group`` is optional, on every
line or on none: a label of both people's demographic group, to report errors by.

Read as well are the lists of LFW and RFW; see :mod:`bridges.datasets.pair_lists`.
"""

import csv
import io
import os
import pathlib
import posixpath
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np

from bridges.datasets.bin_file import NUM_FOLDS, BinFile, contiguous_folds
from bridges.datasets.bin_file import SUFFIX as BIN
from bridges.datasets.checksums import check_content, read_checksums
from bridges.datasets.image_files import ImageFiles
from bridges.datasets.image_source import ImageSource
from bridges.datasets.images import unreadable_images
from bridges.datasets.pair_lists import SUFFIX, pair_lists, read_pair_lists
from bridges.datasets.subset import Subset
from bridges.datasets.unreadable import refuse_or_skip
from hyperface_jax import InputError, files

PAIRS = "pairs.csv"
_COLUMNS = ("first", "second", "same", "fold")


class VerificationSet(NamedTuple):
    """Pairs of images.

    Attributes:
      name: the folder's name, or the file's without its suffix.
      listed_in: the files that list the pairs.
      images: the images, each once.
      pairs: ``[p, 2]`` int64, positions in ``images``.
      same: ``[p]`` bool, whether the pair shows one person.
      fold: ``[p]`` int64, the fold of cross-validation.
      group: ``[p]`` str, or None.
      skipped: images that can't be read, whose pairs were left out, and why not.
      person: ``[n]`` int64, who is on each image, where the list names people; or None.
    """

    name: str
    listed_in: Sequence[pathlib.Path]
    images: ImageSource
    pairs: np.ndarray
    same: np.ndarray
    fold: np.ndarray
    group: np.ndarray | None = None
    skipped: Mapping[str, str] = {}
    person: np.ndarray | None = None

    @property
    def place(self) -> str:
        """The folder or file of the set, for messages."""
        return self.images.name


def write_pairs(
    folder: str | os.PathLike[str], rows: Iterable[Sequence[Any]]
) -> pathlib.Path:
    """Writes ``pairs.csv``, whole or not at all.

    Args:
      folder: the verification set's folder.
      rows: ``(first, second, same, fold)`` or ``(first, second, same, fold, group)``.

    Returns:
      The file written.

    Raises:
      InputError: no rows, or rows of differing length.
    """
    path = pathlib.Path(folder) / PAIRS
    try:
        rows = [tuple(row) for row in rows]
        rows = [(*row[:2], int(row[2]), int(row[3]), *row[4:]) for row in rows]
    except (TypeError, ValueError, IndexError):
        raise InputError(
            f"{path}: rows that are not first, second, same, fold, the latter numbers"
        ) from None
    lengths = {len(row) for row in rows}
    if lengths not in ({4}, {5}):
        raise InputError(
            f"{path}: rows of {sorted(lengths) or 'no'} values, expected "
            "first, second, same, fold and, in all or none, group"
        )
    header = (*_COLUMNS, "group")[: lengths.pop()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    files.write_text(path, text.getvalue())
    return path


def load_verification_set(path: str | os.PathLike[str]) -> VerificationSet:
    """Reads and checks the pairs of a verification set.

    Reads no image; :func:`check_images` does.

    Args:
      path: a folder with ``pairs.csv`` and the images it names; or unpacked of LFW with
        its ``pairs.txt``, or of RFW; or such a list itself, beside its images; or
        insightface's ``.bin``, whose ten folds are contiguous.

    Raises:
      InputError: no such folder or file, a missing column, a bad value (named with its
        line), contradicting pairs, pairs of one kind only, or a single fold.
    """
    given = pathlib.Path(files.path_of(path))
    if given.suffix.lower() == BIN and given.is_file():
        return _of_bin(BinFile(given))
    found = pair_files(given)
    if not found:
        raise InputError(
            f"{given}: not a verification set, it has no {PAIRS} and no list of LFW or "
            "RFW; make the rendered ones with hyperface-render"
        )
    path, folder = found[0], given.parent if given.is_file() else given
    if path.name == PAIRS:
        rows = _read_csv(path)
        _check_contradictions(path, rows)
    else:
        by_list = read_pair_lists(folder, found)
        for each, of_list in by_list.items():
            _check_contradictions(each, of_list)
        rows = [row for of_list in by_list.values() for row in of_list]
    names = sorted({name for row in rows for name in (row["first"], row["second"])})
    position = {name: i for i, name in enumerate(names)}
    same = np.array([_parse(path, row, "same") for row in rows], bool)
    fold = np.array([_parse(path, row, "fold") for row in rows], np.int64)
    _check_both_kinds(path, same, fold)
    return VerificationSet(
        name=given.stem if given.is_file() else given.resolve().name,
        listed_in=found,
        images=ImageFiles(folder, [{"file_name": name} for name in names]),
        pairs=np.array(
            [(position[row["first"]], position[row["second"]]) for row in rows],
            np.int64,
        ),
        same=same,
        fold=fold,
        group=np.array([row["group"] for row in rows]) if "group" in rows[0] else None,
        person=None if path.name == PAIRS else _folder_of_each(names),
    )


def _folder_of_each(names: Sequence[str]) -> np.ndarray:
    """``[n]`` numbers of the folders that images are in: in such lists, of people."""
    folders = [posixpath.dirname(name) for name in names]
    return np.unique(folders, return_inverse=True)[1].astype(np.int64)


def _of_bin(images: BinFile) -> VerificationSet:
    path = pathlib.Path(images.name)
    if len(images.same) < NUM_FOLDS:
        raise InputError(
            f"{path}: {len(images.same)} pairs, too few for its {NUM_FOLDS} folds"
        )
    fold = contiguous_folds(len(images.same))
    _check_both_kinds(path, images.same, fold)
    return VerificationSet(path.stem, [path], images, images.pairs, images.same, fold)


def pair_files(folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The files that make a folder a verification set: ``pairs.csv``, or lists.

    Args:
      folder: a folder, or a list or a ``.bin`` itself.

    Returns:
      None are left out: their bytes say which pairs the set has. Empty for what is no
      verification set.
    """
    folder = pathlib.Path(folder)
    if folder.is_file():
        return [folder] if folder.suffix.lower() in (SUFFIX, BIN) else []
    if (folder / PAIRS).is_file():
        return [folder / PAIRS]
    return pair_lists(folder)


def check_images(
    found: VerificationSet, *, skip_unreadable: bool = False
) -> VerificationSet:
    """Decodes every image, before work that a damaged one would end midway.

    Where a folder has ``SHA256SUMS``, as rendered sets do, images and pairs must be
    what it says.

    Args:
      found: the set.
      skip_unreadable: leave out pairs of images that can't be read.

    Returns:
      The set, without such pairs.

    Raises:
      InputError: names all images that can't be read; or too few pairs are left, or
        something was changed.
    """
    bad = unreadable_images(found.images, description=f"checking {found.name}")
    if not bad:
        _check_unchanged(found)
        return found
    names = [str(pathlib.PurePath(r["file_name"])) for r in found.images.records]
    reasons = {names[i]: reason for i, reason in bad.items()}
    refuse_or_skip(reasons, len(names), found.place, skip_unreadable)
    kept = ~np.isin(found.pairs, list(bad)).any(axis=1)
    _check_both_kinds(found.listed_in[0], found.same[kept], found.fold[kept])
    rows = np.delete(np.arange(len(names)), list(bad))
    _check_unchanged(found, set(bad))
    return found._replace(
        images=Subset(found.images, rows),
        pairs=np.searchsorted(rows, found.pairs[kept]),
        same=found.same[kept],
        fold=found.fold[kept],
        group=None if found.group is None else found.group[kept],
        skipped=reasons,
        person=None if found.person is None else found.person[rows],
    )


def _check_unchanged(found: VerificationSet, bad: Set[int] = frozenset()) -> None:
    """Compares a folder's files, but for those that can't be read, with its sums."""
    if not isinstance(found.images, ImageFiles):
        return
    folder = found.images.folder
    digests = read_checksums(folder)
    if digests is None:
        return
    for path in found.listed_in:
        name = pathlib.PurePath(os.path.relpath(path, folder)).as_posix()
        check_content(folder, digests, name, path.read_bytes())
    for i, record in enumerate(found.images.records):
        if i not in bad and record["file_name"] in digests:
            content = found.images.read(i)
            check_content(folder, digests, record["file_name"], content)


def _check_both_kinds(path: pathlib.Path, same: np.ndarray, fold: np.ndarray) -> None:
    """Refuses pairs on which no threshold can be both chosen and tested."""
    if same.all() or not same.any():
        kind = f"every pair has same = {int(same[0])}" if len(same) else "no pair"
        raise InputError(f"{path}: {kind}; verification needs both kinds")
    if len(np.unique(fold)) < 2:
        raise InputError(
            f"{path}: every pair has fold = {fold[0]}; a threshold is chosen on some "
            "folds and tried on another, so give at least two, ten as a rule"
        )


def _check_contradictions(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    """Refuses an image said to show two people, and pairs listed as both kinds."""
    seen: dict[tuple[str, ...], tuple[int, str]] = {}
    for row in rows:
        pair = sorted(posixpath.normpath(row[key]) for key in ("first", "second"))
        same, line = row["same"].strip(), row["line"]
        if pair[0] == pair[1] and same == "0":
            raise InputError(
                f"{path}: line {line} says that {pair[0]} shows two people; correct it"
            )
        before = seen.setdefault(tuple(pair), (line, same))
        if before[1] != same:
            raise InputError(
                f"{path}: lines {before[0]} and {line} disagree whether {pair[0]} and "
                f"{pair[1]} show one person; remove one of them"
            )


def _read_csv(path: pathlib.Path) -> list[dict[str, Any]]:
    try:
        return _read_rows(path)
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV file ({error})") from None


def _read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    # Names of files need not be UTF-8.
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        missing = [key for key in _COLUMNS if key not in (reader.fieldnames or ())]
        header = "".join(reader.fieldnames or ())
        if missing:
            if "\t" in header or ";" in header:
                raise InputError(
                    f"{path}: its columns are parted by tabs or semicolons; expected "
                    f"commas, and {','.join(_COLUMNS)} in the first line"
                )
            if not header.isprintable():
                raise csv.Error("expected text in UTF-8")
            raise InputError(
                f"{path}: no column {missing[0]!r}; the first line must be "
                f"{','.join(_COLUMNS)}"
            )
        if len(set(reader.fieldnames)) < len(reader.fieldnames):
            raise InputError(f"{path}: two columns have one name; remove one of them")
        rows = []
        for row in reader:
            if None in row or None in row.values():
                raise InputError(
                    f"{path}: line {reader.line_num} has not as many values as columns"
                )
            if not (row["first"] and row["second"]):
                raise InputError(f"{path}: line {reader.line_num} names no image")
            if not row.get("group", "none").strip():
                raise InputError(
                    f"{path}: line {reader.line_num} has an empty group; give every "
                    "pair one, or leave the column out"
                )
            rows.append({**row, "line": reader.line_num})
    if not rows:
        raise InputError(f"{path}: no pairs in it")
    return rows


def _parse(path: pathlib.Path, row: dict[str, Any], key: str) -> int:
    text = row[key].strip()
    if text.isdecimal() and len(text) < 10 and (key != "same" or text in ("0", "1")):
        return int(text)
    expected = "0 or 1" if key == "same" else "a number from 0 to 10^9"
    raise InputError(
        f"{path}: line {row['line']} has {key} = {row[key]!r}, expected {expected}"
    )
