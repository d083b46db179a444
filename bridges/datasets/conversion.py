"""Conversion of image datasets: streaming, resumable, the images' bytes untouched."""

import functools
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from bridges.datasets import image_bytes
from bridges.datasets.decoding import (
    UnreadableImage,
    decode_bytes,
    not_readable,
    size_of,
)
from bridges.datasets.format_output import FormatOutput
from bridges.datasets.formats.writer import FORMATS, ConvertedImage
from bridges.datasets.identity_folders import AUTO
from bridges.datasets.image_source import ImageSource, open_images
from bridges.datasets.images import encode_jpeg, encode_png, name_of
from bridges.datasets.subset import Subset
from bridges.datasets.unreadable import check_source, refuse_or_skip
from hyperface_jax import InputError, checks, files
from hyperface_jax.artifacts import Output

PathLike = str | os.PathLike[str]
ENCODINGS = ("jpeg", "png")
_SUFFIXES = {"jpeg": ".jpg", "png": ".png"}


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
    if encode is not None and encode not in ENCODINGS:
        raise InputError(f"encode is {encode!r}, expected {' or '.join(ENCODINGS)}")
    if image_size is not None:
        checks.whole_number(image_size, "image_size", 1)
    output = pathlib.Path(files.path_of(output))
    if files.is_stream(output):
        raise InputError(f"{output}: a device or a pipe, expected a file or a folder")
    writer_class = FORMATS[format]
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
    target = FormatOutput(output, format, settings)
    prepare = functools.partial(_prepared, image_size=image_size, encode=encode)
    decoded = image_size is not None or encode is not None

    def convert() -> dict[str, Any]:
        readable, skipped = _readable(images, decoded, skip_unreadable)
        if writer_class.by_identity:
            readable = _by_identity(readable)
        extra = {"skipped": skipped} if skipped else {}
        return target.write(readable, prepare, extra)

    is_folder = not writer_class.is_file
    found = Output(output, target.find, is_folder=is_folder).make(convert)
    return Conversion(found["images"], found["identities"])


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


def _check_apart(source: pathlib.Path, output: pathlib.Path) -> None:
    """Refuses an output that is the input, or lies in it."""
    inside = source.resolve() in [output.resolve(), *output.resolve().parents]
    if inside:
        raise InputError(
            f"{output}: lies in the input {source}; give an output elsewhere"
        )
