"""Conversion of image datasets: streaming, resumable, the images' bytes untouched."""

import concurrent.futures
import contextlib
import functools
import hashlib
import json
import os
import pathlib
import shutil
import time
import zipfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from bridges.datasets import image_bytes
from bridges.datasets.decoding import (
    UnreadableImage,
    decode_bytes,
    not_readable,
    size_of,
)
from bridges.datasets.folder_listing import CONVERSION, LABELS, RECORDS
from bridges.datasets.formats.label_table import label_table, record_line
from bridges.datasets.formats.writer import FORMATS, ConvertedImage, FormatWriter
from bridges.datasets.identity_folders import AUTO
from bridges.datasets.image_source import UNFINISHED, ImageSource, open_images
from bridges.datasets.images import encode_jpeg, encode_png, name_of, quiet_decoders
from bridges.datasets.subset import Subset
from bridges.datasets.unreadable import check_source, refuse_or_skip
from bridges.worker_processes import default_num_processes
from hyperface_jax import InputError, checks, files
from hyperface_jax.artifacts import (
    Output,
    check_same_settings,
    check_vacant,
    read_json,
)
from hyperface_jax.commands import progress, provenance

PathLike = str | os.PathLike[str]
ENCODINGS = ("jpeg", "png")
_SUFFIXES = {"jpeg": ".jpg", "png": ".png"}
_STATE, _CONTENT = "state.json", "content"
# Seconds between states: what a kill costs at most.
_EVERY = 5.0
# Images read and encoded side by side.
_AT_ONCE = 64


class Conversion(NamedTuple):
    """What a conversion wrote.

    Attributes:
      images: how many.
      identities: of how many people; None where nothing says who is on them.
    """

    images: int
    identities: int | None


def convert_images(
    source: PathLike,
    output: PathLike,
    *,
    format: str,
    image_size: int | None = None,
    encode: str | None = None,
    identity_from: str = AUTO,
    skip_unreadable: bool = False,
) -> Conversion:
    """Writes images of any readable format in another one.

    Goes on where an earlier call of the same arguments was stopped; until it is done
    only a hidden ``.unfinished`` is in the output. The encoded bytes of images pass
    through as they are unless a size or an encoding is asked for that they don't have.

    Args:
      source: what :func:`bridges.datasets.image_source.open_images` takes.
      output: a new folder, or for ``"zip"`` a file.
      format: a key of :data:`bridges.datasets.formats.writer.FORMATS`.
      image_size: side in pixels: the central square is cropped and resampled.
      encode: ``"jpeg"`` (quality 95, full colour resolution) or ``"png"``; where an
        ``image_size`` changes an image the default is ``"png"``.
      identity_from: what says who is on an image where there is no metadata, see
        :func:`bridges.datasets.image_source.open_images`.
      skip_unreadable: leave out images that can't be read.

    Raises:
      InputError: a source that can't be read, an output of other settings, a format
        that can't hold the source, or a package that it needs and that is missing.
    """
    writer_class = FORMATS[format]
    if encode is not None and encode not in ENCODINGS:
        raise InputError(f"encode is {encode!r}, expected {' or '.join(ENCODINGS)}")
    if image_size is not None:
        checks.whole_number(image_size, "image_size", 1)
    output = pathlib.Path(files.path_of(output))
    if files.is_stream(output):
        raise InputError(f"{output}: a device or a pipe, expected a file or a folder")
    if writer_class.is_file:
        files.check_output(output)
    images = open_images(source, identity_from=identity_from)
    _check_apart(pathlib.Path(files.path_of(source)), output)
    if not images.labelled and writer_class.needs_labels:
        raise InputError(
            f"{images.name}: nothing says who is on the images, which {format} needs; "
            "put them into a folder a person, or take --format=imagefolder"
        )
    settings = {
        "input": images.fingerprint(),
        "format": format,
        "image_size": image_size,
        "encode": encode,
        "skip_unreadable": skip_unreadable,
    }
    work = _Work(output, writer_class, settings)
    prepare = functools.partial(_prepared, image_size=image_size, encode=encode)
    decoded = image_size is not None or encode is not None

    def convert() -> dict[str, Any]:
        readable, skipped = _readable(images, decoded, skip_unreadable)
        if writer_class.by_identity:
            readable = _by_identity(readable)
        return work.convert(readable, prepare, skipped)

    found = Output(output, work.find, is_folder=not writer_class.is_file).make(convert)
    return Conversion(found["images"], found["identities"])


class _Work:
    """The output of a conversion: finished, or to go on with."""

    def __init__(
        self,
        output: pathlib.Path,
        writer_class: type[FormatWriter],
        settings: dict[str, Any],
    ) -> None:
        self._output = output
        self._writer_class = writer_class
        self._settings = settings
        self._folder = output / UNFINISHED
        if writer_class.is_file:
            self._folder = output.with_name(f".{output.name}{UNFINISHED}")

    def find(self) -> dict[str, Any] | None:
        """What a finished conversion of the same settings says of itself."""
        if self._writer_class.is_file:
            found = _described_in(self._output)
        elif (self._output / CONVERSION).exists():
            found = read_json(self._output / CONVERSION)
        else:
            if not self._folder.exists():
                check_vacant(self._output, CONVERSION, "conversion")
            found = None
        if found is None:
            return None
        settings = found.get("settings")
        settings = settings if isinstance(settings, dict) else {}
        check_same_settings(self._output, settings, self._settings)
        counts = [found.get(key) for key in ("images", "identities")]
        if not isinstance(counts[0], int) or not isinstance(counts[1], int | None):
            raise InputError(f"{self._output}: {CONVERSION} was changed; remove it")
        shutil.rmtree(self._folder, ignore_errors=True)
        return found

    def convert(
        self, source: ImageSource, prepare: Any, skipped: dict[str, str]
    ) -> dict[str, Any]:
        """Writes all images; returns the description."""
        description = {
            "images": len(source),
            "identities": len(source.identities) if source.labelled else None,
            "settings": self._settings,
            **({"skipped": skipped} if skipped else {}),
            "created_with": provenance(),
        }
        state = self._state()
        if not state.get("complete"):
            self._write(source, prepare, state.get("writer"), description)
        self._put_in_place(description)
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
        prepare: Any,
        state: dict[str, Any] | None,
        description: dict[str, Any],
    ) -> None:
        with contextlib.closing(
            self._writer_class(self._folder / _CONTENT, source, state)
        ) as writer:
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
            texts = {LABELS: label_table(source)} if source.labelled else {}
            if not writer.keeps_records:
                texts[RECORDS] = "".join(map(record_line, source.records))
            if writer.is_file:
                texts[CONVERSION] = json.dumps(description, indent=2) + "\n"
            writer.finish(texts)
        self._save(complete=True)

    def _put_in_place(self, description: dict[str, Any]) -> None:
        """Moves what is finished to where it belongs; may be repeated after a kill."""
        content = self._folder / _CONTENT
        if self._writer_class.is_file:
            if (content / "images").exists():
                os.replace(content / "images", self._output)
        else:
            for path in sorted(content.iterdir()):
                if not path.name.startswith("."):
                    os.replace(path, self._output / path.name)
            files.write_json(self._output / CONVERSION, description)
        shutil.rmtree(self._folder, ignore_errors=True)


def _checksum(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _readable(
    source: ImageSource, decoded: bool, skip_unreadable: bool
) -> tuple[ImageSource, dict[str, str]]:
    """The images to convert, and the reasons why others are left out.

    Images that pass through are not decoded unless those that can't be are to be left
    out.
    """
    if decoded or skip_unreadable:
        return check_source(source, skip_unreadable=skip_unreadable)
    unlisted = getattr(source, "unreadable", {})
    refuse_or_skip(unlisted, len(source) + len(unlisted), source.name, False)
    return source, {}


def _by_identity(source: ImageSource) -> ImageSource:
    """The images of a person together, in the order they had."""
    if not (np.diff(source.labels) < 0).any():
        return source
    return Subset(source, np.argsort(source.labels, kind="stable"))


def _images(source: ImageSource, prepare: Any, first: int) -> Iterator[ConvertedImage]:
    """The images from row ``first`` on, several prepared at a time."""
    # Decoders and encoders release the interpreter's lock.
    threads = default_num_processes()
    with quiet_decoders(), concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for start in range(first, len(source), _AT_ONCE):
            rows = range(start, min(start + _AT_ONCE, len(source)))
            yield from pool.map(functools.partial(prepare, source), rows)


def _prepared(
    source: ImageSource, row: int, *, image_size: int | None, encode: str | None
) -> ConvertedImage:
    """Reads an image, and resamples and encodes it where that is asked for."""
    name = name_of(source, row)
    content = source.read(row)
    suffix = image_bytes.suffix_of(content)
    same_size = image_size is None or size_of(content) == (image_size, image_size)
    same_format = encode is None or suffix == _SUFFIXES[encode]
    if not (same_size and same_format):
        pixels = decode_bytes(content, image_size, name)
        encode = encode or "png"
        content = encode_jpeg(pixels) if encode == "jpeg" else encode_png(pixels)
        suffix = _SUFFIXES[encode]
    if suffix is None:
        kind = image_bytes.kind_of(content[: image_bytes.START])
        raise UnreadableImage(name, kind or not_readable("of no known format"))
    label = int(source.labels[row]) if source.labelled else None
    return ConvertedImage(row, content, suffix, label, source.records[row])


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


def _check_apart(source: pathlib.Path, output: pathlib.Path) -> None:
    """Refuses an output that is the input, or lies in it."""
    inside = source.resolve() in [output.resolve(), *output.resolve().parents]
    if inside:
        raise InputError(
            f"{output}: lies in the input {source}; give an output elsewhere"
        )
