"""Images of any format to any other, their bytes untouched unless that is asked for."""

import concurrent.futures
import csv
import hashlib
import io
import os
import pathlib
import posixpath
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from bridges.datasets.bin_file import write_bin
from bridges.datasets.dataset_format import to_json
from bridges.datasets.folder_listing import CONVERSION, LABELS
from bridges.datasets.formats.stored_images import LABEL_COLUMNS
from bridges.datasets.formats.writer import FORMATS, Format
from bridges.datasets.identity_folders import AUTO
from bridges.datasets.image_source import ImageSource, open_images
from bridges.datasets.images import (
    decode_bytes,
    encode_jpeg,
    name_of,
    quiet_decoders,
)
from bridges.datasets.unreadable import check_source
from bridges.datasets.verification_set import check_images, load_verification_set
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
ENCODINGS = ("keep", "jpeg", "png")
# A verification set, which takes pairs; not among FORMATS.
BIN = "bin"
_BIN_SIZE = 112
_AT_ONCE = 256
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp"}


class _Encoding(NamedTuple):
    """How images are changed on their way.

    Attributes:
      size: side in pixels, or None.
      kind: of :data:`ENCODINGS`.
    """

    size: int | None
    kind: str

    def of(self, content: bytes, name: str) -> bytes:
        """The image as it is to be written."""
        if self.size is None and self.kind == "keep":
            return content
        image = decode_bytes(content, self.size, name)
        return _png(image) if self.kind == "png" else encode_jpeg(image)


def convert_images(
    images: PathLike,
    output: PathLike,
    *,
    format: str,
    image_size: int | None = None,
    encode: str = "keep",
    identity_from: str = AUTO,
    skip_unreadable: bool = False,
) -> int:
    """Writes images in another format.

    People are numbered from 0; ``labels.csv`` says who each number is and how many
    images there are, and reading gives people their names again where it lies beside.

    Args:
      images: what :func:`bridges.datasets.image_source.open_images` takes; for
        ``"bin"``, a verification set.
      output: the folder to write, or the file of ``"zip"`` and ``"bin"``.
      format: a key of :data:`bridges.datasets.formats.writer.FORMATS`, or ``"bin"``.
      image_size: side in pixels to resample to; None to leave images as they are.
      encode: ``"keep"`` to pass encoded bytes on untouched, where they are not
        resampled; ``"jpeg"`` (quality 95) or ``"png"``.
      identity_from: see :func:`bridges.datasets.image_source.open_images`.
      skip_unreadable: leave out images that can't be read.

    Returns:
      How many images were written, or are there from a finished run.

    Raises:
      InputError: an unknown format, images that can't be read, or an output that is
        something else.
    """
    checks.one_of(format, "format", (*FORMATS, BIN))
    checks.one_of(encode, "encode", ENCODINGS)
    if image_size is not None:
        checks.whole_number(image_size, "image_size", 1)
    encoding = _Encoding(image_size, encode)
    output = pathlib.Path(files.path_of(output))
    if format == BIN:
        return _convert_pairs(images, output, encoding, skip_unreadable)
    source = open_images(images, identity_from=identity_from)
    kind = FORMATS[format]
    settings = {
        "format": format,
        "image_size": image_size,
        "encode": encode,
        "images": _digest(source),
        **({"skip_unreadable": True} if skip_unreadable else {}),
    }
    if kind.is_file:
        if files.was_written(output):
            raise InputError(f"{output}: exists; give another --output or remove it")
        files.check_output(output)
        source, _ = check_source(source, skip_unreadable=skip_unreadable)
        _write(source, output, kind, encoding)
        return len(source)
    result = Output(output, lambda: _read_same(output, settings), is_folder=True)

    def work() -> int:
        if not (output / CONVERSION).exists():
            check_vacant(output, CONVERSION, "conversion")
            output.mkdir(parents=True, exist_ok=True)
            description = {"complete": False, "settings": settings}
            files.write_json(output / CONVERSION, description)
        chosen, _ = check_source(source, skip_unreadable=skip_unreadable)
        _write(chosen, output, kind, encoding)
        files.write_text(output / LABELS, _labels_table(chosen))
        description = {
            "complete": True,
            "settings": settings,
            "count": len(chosen),
            "created_with": provenance(settings),
        }
        files.write_json(output / CONVERSION, description)
        return len(chosen)

    return result.make(work)


def _write(
    source: ImageSource, place: pathlib.Path, kind: Format, encoding: _Encoding
) -> None:
    """Gives all images to the writer of a format."""
    more = {"num_people": len(source.identities)} if kind.numbers_people else {}
    writer = kind.make(place, **more)
    names = _file_names(source, encoding)
    try:
        bar = progress(
            description="converting",
            total=len(source),
            initial=writer.done,
            unit="image",
        )
        with bar:
            for index, content in _contents(source, writer.done, encoding):
                record = {**source.records[index], "file_name": names[index]}
                writer.write(content, int(source.labels[index]), record)
                bar.update(1)
        writer.finish(source.labels.tolist(), names)
    finally:
        writer.close()


def _contents(
    source: ImageSource, start: int, encoding: _Encoding
) -> Iterator[tuple[int, bytes]]:
    """Positions from ``start`` on and their encoded images, read ahead by threads."""

    def content(index: int) -> bytes:
        return encoding.of(source.read(index), name_of(source, index))

    with (
        quiet_decoders(),
        concurrent.futures.ThreadPoolExecutor(default_num_processes()) as pool,
    ):
        for first in range(start, len(source), _AT_ONCE):
            some = range(first, min(first + _AT_ONCE, len(source)))
            yield from zip(some, pool.map(content, some), strict=True)


def _file_names(source: ImageSource, encoding: _Encoding) -> list[str]:
    """A path for each image: a folder a person, the image's name, its suffix."""
    taken: set[str] = set()
    names = []
    for index, record in enumerate(source.records):
        stem, suffix = posixpath.splitext(posixpath.basename(record["file_name"]))
        if encoding.size is not None or encoding.kind != "keep":
            suffix = ".png" if encoding.kind == "png" else ".jpg"
        elif not suffix:
            suffix = _suffix_of(source.read(index))
        folder = ""
        if source.labelled:
            label = int(source.labels[index])
            folder = _folder_name(source.identities[label], label) + "/"
        name = f"{folder}{stem}{suffix}"
        if name.casefold() in taken:
            name = f"{folder}{index:08d}_{stem}{suffix}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _folder_name(identity: int | str, label: int) -> str:
    """The person's name, if a folder can have it everywhere; else the number."""
    if isinstance(identity, int):
        return f"{identity:06d}"
    odd = not identity.isprintable() or any(c in identity for c in '<>:"/\\|?*')
    if odd or identity.startswith(".") or identity != identity.strip(" ."):
        return f"{label:06d}"
    return identity


def _suffix_of(content: bytes) -> str:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return _SUFFIXES.get(image.format or "", ".img")
    except Exception:  # A damaged file can make a decoder raise anything.
        return ".img"


def _labels_table(source: ImageSource) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LABEL_COLUMNS)
    counts = np.bincount(source.labels, minlength=len(source.identities))
    rows = zip(range(len(counts)), source.identities, counts.tolist(), strict=True)
    writer.writerows(rows)
    return text.getvalue()


def _convert_pairs(
    images: PathLike, output: pathlib.Path, encoding: _Encoding, skip_unreadable: bool
) -> int:
    """Writes a verification set as insightface's ``.bin``, fold after fold."""
    if files.was_written(output):
        raise InputError(f"{output}: exists; give another --output or remove it")
    files.check_output(output)
    found = load_verification_set(images)
    found = check_images(found, skip_unreadable=skip_unreadable)
    sized = encoding._replace(size=encoding.size or _BIN_SIZE)
    with quiet_decoders():
        contents = [
            _sized(found.images.read(i), sized, name_of(found.images, i))
            for i in range(len(found.images))
        ]
    order = np.argsort(found.fold, kind="stable")
    pairs = found.pairs[order].ravel().tolist()
    write_bin(output, [contents[i] for i in pairs], found.same[order].tolist())
    return len(contents)


def _sized(content: bytes, encoding: _Encoding, name: str) -> bytes:
    """The bytes as they are, if they are of this size and every reader knows them."""
    if encoding.kind == "keep":
        with Image.open(io.BytesIO(content)) as image:
            fits = image.size == (encoding.size, encoding.size)
            if fits and image.format in ("JPEG", "PNG"):
                return content
    return encoding.of(content, name)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _digest(source: ImageSource) -> str:
    """SHA-256 of the names and people, without reading an image."""
    names: Sequence[Any] = [record["file_name"] for record in source.records]
    who = [source.identities[label] for label in source.labels]
    return hashlib.sha256(to_json([source.name, names, who]).encode()).hexdigest()


def _read_same(output: pathlib.Path, settings: dict[str, Any]) -> int | None:
    """How many images a finished conversion has; refuses one of other settings."""
    path = output / CONVERSION
    if not path.is_file():
        return None
    found = read_json(path)
    if not isinstance(found.get("settings"), dict):
        raise InputError(f"{path}: not of our making; give another --output")
    check_same_settings(path, found["settings"], settings)
    return found.get("count") if found.get("complete") else None
