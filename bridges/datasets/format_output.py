"""An output in one of the formats that can be written: resumable, whole at the end.

Until it is done only a hidden ``.unfinished`` is in the output; of a single file it is
hidden beside it. Then the content is put in place, and ``conversion.json`` last: the
description, by which a finished output is known.
"""

import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bridges.datasets.folder_listing import CONVERSION, LABELS, RECORDS
from bridges.datasets.formats.label_table import label_table, record_line
from bridges.datasets.formats.writer import FORMATS, ConvertedImage
from bridges.datasets.image_source import UNFINISHED, ImageSource
from bridges.datasets.images import quiet_decoders
from bridges.worker_processes import default_num_processes
from hyperface_jax import InputError, files
from hyperface_jax.artifacts import check_same_settings, check_vacant, read_json
from hyperface_jax.commands import progress, provenance

_STATE, _CONTENT = "state.json", "content"
# Seconds between states: what a kill costs at most.
_EVERY = 5.0
# Images read and encoded side by side.
_AT_ONCE = 64

Prepare = Callable[[ImageSource, int], ConvertedImage]
Beside = Callable[[pathlib.Path], Mapping[str, str]]


class FormatOutput:
    """A folder or file of one format: finished, or to go on with.

    Attributes:
      path: where it is.
      writer_class: what writes the format.
    """

    def __init__(
        self, path: pathlib.Path, format: str, settings: Mapping[str, Any]
    ) -> None:
        """Describes the output; touches nothing.

        Args:
          path: a new folder or file, or one that was begun.
          format: a key of :data:`bridges.datasets.formats.writer.FORMATS`.
          settings: all that the content depends on, JSON-ready.

        Raises:
          InputError: no such format.
        """
        self.path = path
        self.writer_class = FORMATS[format]
        self._settings = dict(settings)
        self._folder = path / UNFINISHED
        if self.writer_class.is_file:
            self._folder = path.parent / f".{path.name}{UNFINISHED}"

    def find(self) -> dict[str, Any] | None:
        """What a finished output of the same settings says of itself, or None.

        Raises:
          InputError: an output of other settings, or not ours.
        """
        if self.writer_class.is_file:
            found = _described_in(self.path)
        elif (self.path / CONVERSION).exists():
            found = read_json(self.path / CONVERSION)
        else:
            if not self._folder.exists():
                check_vacant(self.path, CONVERSION, "conversion")
            found = None
        if found is None:
            return None
        settings = found.get("settings")
        settings = settings if isinstance(settings, dict) else {}
        check_same_settings(self.path, settings, self._settings)
        counts = [found.get(key) for key in ("images", "identities")]
        if not isinstance(counts[0], int) or not isinstance(counts[1], int | None):
            raise InputError(f"{self.path}: {CONVERSION} was changed; remove it")
        shutil.rmtree(self._folder, ignore_errors=True)
        return found

    def write(
        self,
        source: ImageSource,
        prepare: Prepare,
        extra: Mapping[str, Any],
        *,
        beside: Beside | None = None,
    ) -> dict[str, Any]:
        """Writes all images.

        Args:
          source: the images.
          prepare: reads one of them as it is to be written, by its row; called by
            several threads.
          extra: entries of the description that are not settings.
          beside: called with the folder of the finished content, before the
            description is written; returns texts to be put beside it, by name. A
            format of a single file has them inside, and it is called with the working
            folder.

        Returns:
          The description.

        Raises:
          InputError: the format can't hold the source, or the state was damaged.
        """
        description = {
            "images": len(source),
            "identities": len(source.identities) if source.labelled else None,
            "settings": self._settings,
            **extra,
            "created_with": provenance(),
        }
        state = self._state()
        if not state.get("complete"):
            self._write(source, prepare, state.get("writer"), description, beside)
        self._put_in_place(description, beside)
        return description

    def _state(self) -> dict[str, Any]:
        """The state to go on from; empty at the beginning."""
        path = self._folder / _STATE
        if not path.exists():
            # Without a state nothing there can be relied on.
            shutil.rmtree(self._folder, ignore_errors=True)
            (self._folder / _CONTENT).mkdir(parents=True)
            return {}
        state = read_json(path)
        if state.pop("checksum", None) != _checksum(state):
            raise InputError(
                f"{path}: was changed or damaged; remove {self._folder} and convert "
                "from the beginning"
            )
        remedy = f"go on with these, or remove {self._folder}"
        found = state["settings"]
        check_same_settings(self._folder, found, self._settings, remedy=remedy)
        return state

    def _save(self, **state: Any) -> None:
        state = {"settings": self._settings, **state}
        state["checksum"] = _checksum(state)
        files.write_json(self._folder / _STATE, state)

    def _write(
        self,
        source: ImageSource,
        prepare: Prepare,
        state: dict[str, Any] | None,
        description: dict[str, Any],
        beside: Beside | None,
    ) -> None:
        writer = self.writer_class(self._folder / _CONTENT, source, state)
        try:
            saved = time.monotonic()
            images = _images(source, prepare, writer.rows)
            for image in progress(
                images,
                description="converting",
                total=len(source),
                initial=writer.rows,
                unit="image",
            ):
                writer.write(image)
                if time.monotonic() - saved > _EVERY:
                    self._save(writer=writer.checkpoint())
                    saved = time.monotonic()
            tables = {LABELS: [label_table(source)]} if source.labelled else {}
            if not writer.keeps_records:
                tables[RECORDS] = map(record_line, source.records)
            if writer.is_file:
                tables[CONVERSION] = [json.dumps(description, indent=2) + "\n"]
                texts = beside(self._folder / _CONTENT) if beside else {}
                tables |= {name: [text] for name, text in texts.items()}
            writer.finish(tables)
        finally:
            writer.close()
        self._save(complete=True)

    def _put_in_place(self, description: dict[str, Any], beside: Beside | None) -> None:
        """Moves what is finished to where it belongs; may be repeated after a kill."""
        content = self._folder / _CONTENT
        if self.writer_class.is_file:
            if (content / "images").exists():
                os.replace(content / "images", self.path)
        else:
            for path in sorted(content.iterdir()):
                if not path.name.startswith("."):
                    os.replace(path, self.path / path.name)
            texts = beside(self.path) if beside else {}
            for name, text in texts.items():
                files.write_text(self.path / name, text)
            files.write_json(self.path / CONVERSION, description)
        shutil.rmtree(self._folder, ignore_errors=True)


def _checksum(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _images(
    source: ImageSource, prepare: Prepare, first: int
) -> Iterator[ConvertedImage]:
    """The images from row ``first`` on, several prepared at a time."""
    # Decoders and encoders release the interpreter's lock.
    threads = default_num_processes()
    with quiet_decoders(), concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for start in range(first, len(source), _AT_ONCE):
            rows = range(start, min(start + _AT_ONCE, len(source)))
            yield from pool.map(functools.partial(prepare, source), rows)


def _described_in(path: pathlib.Path) -> dict[str, Any] | None:
    """The description in a converted file; None where there is no file."""
    if not files.was_written(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            found = json.loads(archive.read(CONVERSION))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(
            f"{path}: is no conversion of ours; give another output or remove it"
        )
    return found
