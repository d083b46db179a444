"""The folder of an alignment: crops by their pictures' names, and what became of each.

::

    ann/1.jpg            the crop of the face in ann/1.heic; of all faces, ann/1_0.jpg …
    alignment.csv        a row a crop, and one for each picture without
    alignment.json       settings, counts, what made it, complete

Until it is complete, a hidden journal takes the place of ``alignment.csv``.
"""

import contextlib
import csv
import hashlib
import io
import json
import pathlib
import posixpath
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from bridges.datasets.folder_listing import ALIGNMENT, ALIGNMENT_TABLE
from bridges.datasets.journal import Journal
from hyperface_jax import InputError, files
from hyperface_jax.artifacts import (
    Output,
    check_same_settings,
    check_vacant,
    read_json,
)
from hyperface_jax.commands import provenance

FORMAT_VERSION = 1
_JOURNAL = ".alignment.jsonl"
POINTS = ("eye_1", "eye_2", "nose", "mouth_1", "mouth_2")
# What became of a picture or a crop.
ALIGNED, DOUBTFUL, KEPT, NO_FACE = "aligned", "doubtful", "kept", "no face"
UNREADABLE = "unreadable"
COLUMNS = (
    *("file", "crop", "status", "why", "faces", "turn", "score"),
    *("left", "top", "right", "bottom"),
    *(f"{point}_{axis}" for point in POINTS for axis in "xy"),
)
Row = dict[str, Any]


class AlignmentFolder:
    """Creates the folder, or resumes an unfinished one.

    Attributes:
      folder: the folder.
      rows: what became of each picture so far, by its name: a row a crop, or one that
        says why there is none.
      complete: whether the alignment of these settings is finished.
      description: of a complete one, what is in ``alignment.json``.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        settings: Mapping[str, Any],
        sizes: Mapping[str, int],
    ) -> None:
        """Opens the folder.

        Args:
          folder: created when missing.
          settings: what the crops depend on, JSON-ready; other ones are refused.
          sizes: bytes of each picture by its name. Of an unfinished folder, pictures
            that have changed are taken again; a complete one of others is refused.

        Raises:
          InputError: the folder holds something else, was made with other settings or
            of other pictures, or another process is writing to it.
        """
        self.folder = folder
        self._settings, self._sizes = dict(settings), dict(sizes)
        self.rows: dict[str, list[Row]] = {}
        self.description: dict[str, Any] = {}
        self._output = Output(
            folder, self._read_complete, is_folder=True, leftovers=[folder / _JOURNAL]
        )
        self._held = contextlib.ExitStack()
        self._journal: Journal | None = None
        with contextlib.ExitStack() as held:
            found = self._output.finished()
            if found is None:
                if not (folder / ALIGNMENT).exists():
                    check_vacant(folder, ALIGNMENT, "folder of aligned faces")
                found = held.enter_context(self._output.writing())
            self.complete = found is not None
            if found is not None:
                self.description = found
            else:
                self._start(held)
            self._held = held.pop_all()

    def write(self, name: str, crops: Mapping[str, bytes], rows: Sequence[Row]) -> None:
        """Adds what became of a picture.

        Args:
          name: of the picture.
          crops: content by path below the folder.
          rows: of :data:`COLUMNS`; what a row lacks is left empty.
        """
        for crop, content in crops.items():
            path = self.folder / crop
            path.parent.mkdir(parents=True, exist_ok=True)
            # The journal's checksum detects what a power cut has torn.
            path.write_bytes(content)
        sums = {crop: zlib.crc32(content) for crop, content in crops.items()}
        entry = {"name": name, "size": self._sizes[name], "crc32": sums, "rows": rows}
        self._journal.append(entry)
        self.rows[name] = list(rows)

    def finish(self, rows: Sequence[Row], **extra: Any) -> None:
        """Writes the table and the description; closes the folder.

        Args:
          rows: of all pictures, in order.
          **extra: further entries of ``alignment.json``.
        """
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        files.write_text(self.folder / ALIGNMENT_TABLE, text.getvalue())
        self.description = {
            **self._describe(complete=True),
            "pictures": _digest(self._sizes),
            **extra,
            "created_with": provenance(self._settings),
        }
        files.write_json(self.folder / ALIGNMENT, self.description)
        self._output.clean_up()
        self.complete = True

    def close(self) -> None:
        """Releases the folder; an unfinished alignment can be resumed later."""
        self._held.close()

    def __enter__(self) -> "AlignmentFolder":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start(self, held: contextlib.ExitStack) -> None:
        if not (self.folder / ALIGNMENT).exists():
            files.write_json(self.folder / ALIGNMENT, self._describe(complete=False))
        self._journal = Journal(self.folder / _JOURNAL)
        held.callback(self._journal.close)
        for entry in self._journal.entries:
            with contextlib.suppress(KeyError, TypeError, AttributeError):
                name, sums = entry["name"], entry["crc32"]
                same = self._sizes.get(name) == entry["size"] and all(
                    _checksum(self.folder / crop) == sum_ for crop, sum_ in sums.items()
                )
                if same:
                    self.rows[name] = [dict(row) for row in entry["rows"]]

    def _describe(self, *, complete: bool) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "complete": complete,
            "settings": self._plain_settings(),
        }

    def _plain_settings(self) -> dict[str, Any]:
        """The settings as JSON gives them back."""
        return json.loads(json.dumps(self._settings))

    def _read_complete(self) -> dict[str, Any] | None:
        path = self.folder / ALIGNMENT
        if not path.exists():
            return None
        found = read_json(path)
        if not isinstance(found.get("settings"), dict):
            raise InputError(
                f"{path}: not of our making; give a new or empty folder as --output"
            )
        check_same_settings(
            path, found["settings"], self._describe(complete=True)["settings"]
        )
        if not found.get("complete"):
            return None
        now = {"pictures": _digest(self._sizes)}
        check_same_settings(path, {"pictures": found.get("pictures")}, now)
        return found


def read_table(folder: pathlib.Path) -> list[dict[str, str]]:
    """The rows of ``alignment.csv``, all text.

    Raises:
      InputError: it is not there, or not of our making.
    """
    path = folder / ALIGNMENT_TABLE
    if not path.is_file():
        raise InputError(f"{path}: not there; hyperface-align makes it")
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise InputError(f"{path}: other columns than hyperface-align writes")
        return list(reader)


def crop_names(names: Sequence[str]) -> dict[str, str]:
    """The crop of each picture, without suffix: the picture's path without its own.

    Two pictures of a folder that differ in the suffix alone keep it.
    """
    taken: set[str] = set()
    result = {}
    for name in names:
        choices = (posixpath.splitext(name)[0], name)
        # On some systems a.jpg and A.jpg are one file.
        stem = next((each for each in choices if each.casefold() not in taken), None)
        number = 2
        while stem is None:
            stem = f"{name}-{number}"
            stem, number = None if stem.casefold() in taken else stem, number + 1
        taken.add(stem.casefold())
        result[name] = stem
    return result


def _digest(sizes: Mapping[str, int]) -> str:
    lines = "".join(f"{name}\0{size}\n" for name, size in sorted(sizes.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()


def _checksum(path: pathlib.Path) -> int | None:
    try:
        return zlib.crc32(path.read_bytes())
    except OSError:
        return None
