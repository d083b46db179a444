"""Datasets that ``datasets`` of Hugging Face has saved on disk.

::

    state.json            the names of the files with the rows
    dataset_info.json     the columns, and the names of the labels
    data-*.arrow          Arrow streams: a struct of bytes and path an image

Imagefolders, which it reads as well, are folders of images to us.
"""

import json
import os
import pathlib
from typing import Any

import numpy as np

from bridges.datasets.dataset_format import as_identities
from bridges.datasets.formats.archive_members import check_name
from bridges.datasets.formats.file_ranges import FileRanges
from bridges.datasets.formats.packed_images import (
    PackedImages,
    check_file,
)
from bridges.datasets.formats.writer import required
from hyperface_jax import InputError
from hyperface_jax.artifacts import read_json
from hyperface_jax.commands import progress

_SPLITS = "dataset_dict.json"
# Columns that say who is on an image, in the order of asking.
_LABELS = ("label", "identity", "labels")


class SavedDataset(PackedImages):
    """A saved dataset with a column of images; an image source."""

    def __init__(
        self, path: str | os.PathLike[str], *, identity_from: str | None = None
    ) -> None:
        """Reads all columns but the images, whose places it notes.

        Args:
          path: the folder.
          identity_from: ignored, the column ``label`` or ``identity`` says who is who.

        Raises:
          InputError: damaged, without embedded images, or pyarrow is missing.
        """
        del identity_from
        folder = pathlib.Path(path)
        if (folder / _SPLITS).is_file() and not (folder / "state.json").is_file():
            raise InputError(
                f"{folder}: holds several splits; give the folder of one: "
                f"{', '.join(sorted(p.name for p in folder.iterdir() if p.is_dir()))}"
            )
        files = _data_files(folder)
        features = read_json(folder / "dataset_info.json").get("features")
        features = features if isinstance(features, dict) else {}
        self._files = [FileRanges(file) for file in files]
        self._spans: list[tuple[int, int, int]] = []
        records: list[dict[str, Any]] = []
        for number, file in enumerate(
            progress(files, description="listing images", unit="file")
        ):
            spans, found = _read(file, features)
            self._spans += [(number, *span) for span in spans]
            records += found
        column = next((name for name in _LABELS if _in_all(name, records)), None)
        who = None if column is None else [_label(r[column], folder) for r in records]
        names = None if column is None else _names(features.get(column))
        if names is not None:
            wrong = next((w for w in who if w not in range(len(names))), None)
            if wrong is not None:
                raise InputError(
                    f"{folder}: label {wrong!r} of {len(names):,} names; it is damaged"
                )
        elif who is not None and len({type(one) for one in who}) > 1:
            raise InputError(f"{folder}: column {column} holds numbers and names")
        for row, record in enumerate(records):
            record.pop(column, None)
            name = record.get("file_name")
            record["file_name"] = (
                name if isinstance(name, str) and name else f"{row:08d}"
            )
        super().__init__(folder, files, records, who, names=names, tables=folder)

    def _content(self, index: int) -> bytes:
        number, offset, size = self._spans[index]
        content = self._files[number].read(offset, size)
        if len(content) != size:
            raise ValueError("the file ends before the image does")
        return content


def _data_files(folder: pathlib.Path) -> list[pathlib.Path]:
    listed = read_json(folder / "state.json").get("_data_files")
    try:
        names = [entry["filename"] for entry in listed]
        for name in names:
            check_name(name, str(folder / "state.json"))
    except (TypeError, KeyError, AttributeError):
        raise InputError(
            f"{folder / 'state.json'}: lists no files; save the dataset again"
        ) from None
    return [check_file(folder / name) for name in names]


def _read(
    path: pathlib.Path, features: dict[str, Any]
) -> tuple[list[tuple[int, int]], list[dict[str, Any]]]:
    """Offset and size of each image in a file, and the other columns of its row."""
    arrow = required("pyarrow")
    spans, records = [], []
    try:
        with arrow.memory_map(os.fspath(path)) as mapped:
            size = mapped.size()
            start = mapped.read_buffer().address if size else 0
            mapped.seek(0)
            with arrow.ipc.open_stream(mapped) as stream:
                name = _image_column(arrow, stream.schema, features, path)
                for batch in stream:
                    # Without this, damaged offsets would lead out of the memory.
                    batch.validate(full=True)
                    images = batch.column(name)
                    spans += _spans(arrow, images, start, size, path)
                    others = [n for n in batch.schema.names if n != name]
                    rows = batch.select(others).to_pylist()
                    paths = _paths(arrow, images)
                    for row, stored in zip(rows, paths, strict=True):
                        record = {k: v for k, v in row.items() if _is_plain(v)}
                        if stored:
                            record.setdefault("file_name", stored)
                        records.append(record)
    except (InputError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # whatever Arrow makes of damage
        said = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path}: not a readable Arrow stream ({said:.160}); it is truncated or "
            "damaged, save the dataset again"
        ) from None
    return spans, records


def _image_column(
    arrow: Any, schema: Any, features: dict[str, Any], path: pathlib.Path
) -> str:
    """The column with the images."""
    for field in schema:
        described = features.get(field.name)
        kind = described.get("_type") if isinstance(described, dict) else None
        named = field.name == "image" and kind is None
        if (kind == "Image" or named) and _bytes_type(arrow, field.type) is not None:
            return field.name
    raise InputError(
        f"{path}: columns {', '.join(schema.names)[:80]}, none of them holds images"
    )


def _bytes_type(arrow: Any, kind: Any) -> Any:
    """The type of the bytes in a column of images; None for another column."""
    if arrow.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        kind = kind.field(index).type if index >= 0 else None
    binary = kind is not None and (
        arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind)
    )
    return kind if binary else None


def _spans(
    arrow: Any, images: Any, start: int, size: int, path: pathlib.Path
) -> list[tuple[int, int]]:
    """Where the bytes of each image are in the file, which is mapped at ``start``."""
    content = images
    if arrow.types.is_struct(images.type):
        content = images.field("bytes")
    if len(content) and (content.null_count or images.null_count):
        raise InputError(
            f"{path}: keeps the paths of images, not their bytes; save the dataset "
            "with embedded images (datasets does that unless told otherwise)"
        )
    if not len(content):
        return []
    _, offsets, data = content.buffers()
    wide = np.int64 if arrow.types.is_large_binary(content.type) else np.int32
    bounds = np.frombuffer(offsets, wide)[content.offset :][: len(content) + 1]
    at = (data.address - start if data is not None else 0) + bounds.astype(np.int64)
    if at[0] < 0 or at[-1] > size:
        raise InputError(
            f"{path}: its columns are compressed; save the dataset again with "
            "datasets, which stores them as they are"
        )
    return list(zip(at[:-1].tolist(), np.diff(at).tolist(), strict=True))


def _paths(arrow: Any, images: Any) -> list[str | None]:
    """The names that are stored with the images."""
    if arrow.types.is_struct(images.type) and images.type.get_field_index("path") >= 0:
        paths = images.field("path")
        if arrow.types.is_string(paths.type):
            return paths.to_pylist()
    return [None] * len(images)


def _names(described: Any) -> list[int | str] | None:
    """The names of the labels of a ClassLabel column."""
    names = described.get("names") if isinstance(described, dict) else None
    right = isinstance(names, list) and all(isinstance(n, str) and n for n in names)
    return as_identities(names) if right and len(set(names)) == len(names) else None


def _in_all(name: str, records: list[dict[str, Any]]) -> bool:
    return bool(records) and all(record.get(name) is not None for record in records)


def _label(value: Any, folder: pathlib.Path) -> int | str:
    if type(value) not in (int, str) or value == "":
        raise InputError(f"{folder}: label {value!r:.60} is no number and no name")
    return value


def _is_plain(value: Any) -> bool:
    """Whether JSON can hold a value of a column."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
