"""Data sets of the package ``datasets`` as ``save_to_disk`` leaves them: Arrow tables.

An ``image`` column with encoded bytes, and a ``label`` column: numbers, or the names of
people as a ``ClassLabel``.
"""

import os
import pathlib
import shutil
import tempfile
from typing import Any

from bridges.datasets.formats.optional import need
from bridges.datasets.formats.stored_images import StoredImages, named
from hyperface_jax import InputError, files

STATE = "state.json"
_WHAT = "a data set of Hugging Face"
_IMAGES, _LABELS = ("image", "img"), ("label", "labels", "identity", "id")


class HuggingFaceFolder(StoredImages):
    """The images of such a folder."""

    def __init__(
        self, path: str | os.PathLike[str], *, identity_from: str = ""
    ) -> None:
        """Reads the labels.

        Args:
          path: the folder of one split.
          identity_from: ignored: labels say who is on an image.

        Raises:
          InputError: no such folder, several splits, or no column of encoded images.
        """
        del identity_from
        self._path = pathlib.Path(files.path_of(path))
        self._rows = self._opened()
        image = _column(self._rows, _IMAGES)
        if image is None:
            raise InputError(
                f"{self._path}: no column image in it, but "
                f"{', '.join(self._rows.column_names)}"
            )
        self._image = image
        label = _column(self._rows, _LABELS)
        names = [f"{number:08d}" for number in range(len(self._rows))]
        who = None
        if label is not None:
            who = self._people(label)
        super().__init__(self._path, names, who)

    def read(self, index: int) -> bytes:
        """The encoded bytes of an image."""
        found = self._rows[index][self._image]
        content = found.get("bytes") if isinstance(found, dict) else found
        if not isinstance(content, bytes):
            raise self.unreadable_image(
                index, "lies elsewhere, by its path; save the data set with its images"
            )
        return content

    def _opened(self) -> Any:
        datasets = need("datasets", _WHAT)
        try:
            found = datasets.load_from_disk(os.fspath(self._path))
            if isinstance(found, datasets.DatasetDict):
                raise InputError(
                    f"{self._path}: several splits ({', '.join(found)}); give the "
                    "folder of one"
                )
            for name in _IMAGES:
                if isinstance(found.features.get(name), datasets.Image):
                    found = found.cast_column(name, datasets.Image(decode=False))
        except InputError:
            raise
        except Exception as error:  # Arrow raises what it likes on damaged tables.
            reason = " ".join(str(error).split())[:100]
            raise InputError(
                f"{self._path}: no {_WHAT[2:]}, or a damaged one ({reason})"
            ) from None
        return found

    def _people(self, column: str) -> list[int | str]:
        labels = self._rows[column]
        feature = self._rows.features[column]
        if hasattr(feature, "int2str"):
            return [str(feature.int2str(label)) for label in labels]
        if all(isinstance(label, str) for label in labels):
            return list(labels)
        if not all(type(label) is int for label in labels):
            raise InputError(f"{self._path}: {column} is neither numbers nor names")
        return named(list(labels), self._path)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._rows = self._opened()


class HuggingFaceWriter:
    """Writes such a folder; a table is built as the images come.

    Attributes:
      done: 0: an interrupted table is begun anew.
    """

    done = 0
    _AT_ONCE = 1000

    def __init__(self, folder: pathlib.Path) -> None:
        """Starts.

        Args:
          folder: it exists.
        """
        datasets = need("datasets", _WHAT)
        writer = need("datasets.arrow_writer", _WHAT)
        self._datasets, self._folder = datasets, folder
        self._features = datasets.Features(
            {"image": datasets.Image(), "label": datasets.Value("int64")}
        )
        self._scratch = pathlib.Path(tempfile.mkdtemp(dir=folder, prefix=".arrow-"))
        self._table = self._scratch / "data.arrow"
        self._writer = writer.ArrowWriter(
            path=os.fspath(self._table),
            features=self._features,
            writer_batch_size=self._AT_ONCE,
        )

    def write(self, content: bytes, label: int, record: dict[str, Any]) -> None:
        """Adds an image.

        Args:
          content: encoded.
          label: the number of the person.
          record: ``file_name`` is kept.
        """
        image = {"bytes": content, "path": pathlib.PurePath(record["file_name"]).name}
        self._writer.write({"image": image, "label": label})

    def finish(self, labels: list[int], names: list[str]) -> None:
        """Saves the table.

        Args:
          labels: unused.
          names: unused.
        """
        del labels, names
        self._writer.finalize()
        rows = self._datasets.Dataset.from_file(os.fspath(self._table))
        rows.save_to_disk(os.fspath(self._folder))
        del rows
        self.close()

    def close(self) -> None:
        """Removes what is not whole."""
        shutil.rmtree(self._scratch, ignore_errors=True)


def _column(rows: Any, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in rows.column_names), None)
