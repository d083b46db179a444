"""Writing of datasets as ``datasets`` of Hugging Face saves them on disk.

:mod:`bridges.datasets.formats.hugging_face` describes them.
"""

import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from bridges.datasets.formats.writer import ConvertedImage, required
from bridges.datasets.image_source import ImageSource
from hyperface_jax import files

# Images a file, which is the part that a kill costs; and bytes that are put into a
# batch, of which Arrow's offsets take 2 GiB.
_FILE_IMAGES = 20_000
_BATCH_BYTES = 1 << 26
_BATCH_IMAGES = 200
_IMAGE, _NAME, _LABEL = "image", "file_name", "label"


class HuggingFaceWriter:
    """Writes columns image, label (with the names of the people) and file_name."""

    by_identity = False
    needs_labels = False
    keeps_records = False
    is_file = False

    def __init__(
        self, folder: pathlib.Path, source: ImageSource, state: dict[str, Any] | None
    ) -> None:
        self._arrow = required("pyarrow")
        self._folder = folder
        self._features = _features(source)
        # What is safe: whole files; the rows behind them are written again.
        self._safe = state["rows"] if state else 0
        self._files = list(state["files"]) if state else []
        self.rows = self._safe
        self._stream: Any = None
        self._batch: list[ConvertedImage] = []
        self._bytes = 0
        arrow = self._arrow
        image = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
        columns = [(_IMAGE, image), (_NAME, arrow.string())]
        if source.labelled:
            columns.insert(1, (_LABEL, arrow.int64()))
        info = json.dumps({"info": {"features": self._features}})
        self._schema = arrow.schema(columns, metadata={"huggingface": info})

    def write(self, image: ConvertedImage) -> None:
        """Adds the image of the next row."""
        self._batch.append(image)
        self._bytes += len(image.content)
        self.rows = image.row + 1
        if len(self._batch) >= _BATCH_IMAGES or self._bytes >= _BATCH_BYTES:
            self._put()
        if self.rows - self._safe >= _FILE_IMAGES:
            self._end_file()

    def checkpoint(self) -> dict[str, Any]:
        """The state as of the last whole file."""
        return {"rows": self._safe, "files": self._files}

    def finish(self, tables: Mapping[str, Iterable[str]]) -> None:
        """Ends the last file; writes what describes the dataset, and the tables."""
        self._end_file()
        fingerprint = hashlib.sha256(json.dumps(self._files).encode()).hexdigest()
        state = {
            "_data_files": [{"filename": name} for name in self._files],
            "_fingerprint": fingerprint[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        }
        info = {
            "citation": "",
            "description": "",
            "features": self._features,
            "homepage": "",
            "license": "",
        }
        files.write_json(self._folder / "dataset_info.json", info)
        files.write_json(self._folder / "state.json", state)
        for name, lines in tables.items():
            files.write_lines(self._folder / name, lines)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _put(self) -> None:
        """Writes the images that wait as one batch."""
        if not self._batch:
            return
        path = self._folder / f"data-{len(self._files):05d}.arrow"
        if self._stream is None:
            self._stream = self._arrow.ipc.new_stream(str(path), self._schema)
        columns = {
            _IMAGE: [{"bytes": i.content, "path": _file_name(i)} for i in self._batch],
            _LABEL: [image.label for image in self._batch],
            _NAME: [_text(image.record["file_name"]) for image in self._batch],
        }
        arrays = [
            self._arrow.array(columns[field.name], field.type) for field in self._schema
        ]
        self._stream.write_batch(self._arrow.record_batch(arrays, schema=self._schema))
        self._batch, self._bytes = [], 0

    def _end_file(self) -> None:
        self._put()
        if self._stream is None:
            return
        self.close()
        self._files.append(f"data-{len(self._files):05d}.arrow")
        self._safe = self.rows


def _features(source: ImageSource) -> dict[str, Any]:
    """The columns, as ``datasets`` describes them."""
    features: dict[str, Any] = {_IMAGE: {"_type": "Image"}}
    if source.labelled:
        names = [_text(identity) for identity in source.identities]
        features[_LABEL] = {"names": names, "_type": "ClassLabel"}
    features[_NAME] = {"dtype": "string", "_type": "Value"}
    return features


def _file_name(image: ConvertedImage) -> str:
    return f"{image.row:08d}{image.suffix}"


def _text(value: Any) -> str:
    """A name as UTF-8, in which file names need not be."""
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
