"""Photographs to aligned crops: a folder in, a folder of faces out."""

import contextlib
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bridges.datasets.folder_listing import list_images
from bridges.datasets.image_files import ImageFiles
from bridges.datasets.image_source import describe
from bridges.datasets.images import (
    UnreadableImage,
    decode_bytes,
    encode_jpeg,
    quiet_decoders,
    read_file,
)
from bridges.datasets.unreadable import refuse_or_skip
from bridges.photographs.aligned_crops import side_of_aligned_crops
from bridges.photographs.alignment_folder import (
    ALIGNED,
    DOUBTFUL,
    KEPT,
    NO_FACE,
    POINTS,
    UNREADABLE,
    AlignmentFolder,
    Row,
    crop_names,
)
from bridges.photographs.detector import Detector, load_detector
from bridges.photographs.face_choice import ALL, FACES, LARGEST
from bridges.photographs.picture_alignment import AlignedFace, align_picture
from bridges.worker_processes import default_num_processes, map_in_processes
from hyperface_jax import InputError, checks, files
from hyperface_jax.commands import announce
from hyperface_jax.commands import progress as progress_bar

PathLike = str | os.PathLike[str]
# A process takes as long to start as these pictures to align.
_PICTURES_PER_PROCESS = 8


class AlignedFaces(NamedTuple):
    """What :func:`align_faces` made.

    Attributes:
      folder: of the crops.
      counts: pictures and crops, in all and by what became of them.
    """

    folder: pathlib.Path
    counts: dict[str, int]


class _Work(NamedTuple):
    """What a process needs to know."""

    folder: str
    detector: str
    device: str
    image_size: int
    faces: str
    kept_side: int | None


class _Picture(NamedTuple):
    """What became of a picture: crops by path, rows, or why it can't be read."""

    name: str
    crops: dict[str, bytes]
    rows: list[Row]
    unreadable: str | None = None


def align_faces(
    images: PathLike,
    output: PathLike,
    *,
    detector: str = "mtcnn",
    image_size: int = 112,
    faces: str = LARGEST,
    realign: bool = False,
    skip_unreadable: bool = False,
    num_processes: int | None = None,
    device: str = "auto",
) -> AlignedFaces:
    """Finds the faces in a folder of photographs and writes them as aligned crops.

    A crop has the name and the sub-folder of its picture, and the five landmarks of the
    face on ArcFace's template. ``alignment.csv`` says of every picture what became of
    it. What is finished is kept when the work is interrupted; the same call goes on.

    Args:
      images: the folder; everything below it is taken, in any format that Pillow
        decodes. Crops that are aligned already, if most of its pictures are, are
        copied as they are.
      output: the folder of the crops.
      detector: a key of :data:`bridges.photographs.detector.DETECTORS`.
      image_size: side of the crops in pixels.
      faces: which faces of a picture, a key of
        :data:`bridges.photographs.face_choice.FACES`.
      realign: look for faces in crops that seem to be aligned already, too.
      skip_unreadable: leave out pictures that can't be read.
      num_processes: on a CPU; by default one a core.
      device: what to compute on, see :func:`bridges.devices.find_device`.

    Raises:
      InputError: no pictures, no face in any of them, an unknown detector or one
        without its weights, an output that is something else; or, after all others are
        aligned, pictures that can't be read.
    """
    from bridges.devices import find_device

    checks.one_of(faces, "faces", tuple(FACES))
    checks.whole_number(image_size, "image_size", 16)
    if num_processes is not None:
        checks.whole_number(num_processes, "num_processes", 1)
    output = pathlib.Path(files.path_of(output))
    _refuse_nested(pathlib.Path(files.path_of(images)), output)
    source = _pictures(images)
    names = [record["file_name"] for record in source.records]
    finder = load_detector(detector, device=device)
    settings = {
        "detector": dict(finder.model),
        "image_size": image_size,
        "faces": faces,
        "realign": realign,
    }
    sizes = {name: _size(source.folder / name) for name in names}
    with AlignmentFolder(output, settings=settings, sizes=sizes) as folder:
        if folder.complete:
            return AlignedFaces(output, folder.description["counts"])
        kept_side = None if realign else side_of_aligned_crops(source, finder)
        if kept_side is not None:
            announce(
                f"{source.name}: pictures of {kept_side} x {kept_side} pixels are "
                "aligned already and stay as they are; --realign looks for faces in "
                "them all the same"
            )
        where = find_device(device, quiet=True).name
        work = _Work(source.name, detector, where, image_size, faces, kept_side)
        unreadable = {
            **source.unreadable,
            **_align_rest(folder, names, work, finder, num_processes),
        }
        total = len(names) + len(source.unreadable)
        refuse_or_skip(unreadable, total, source.name, skip_unreadable)
        return AlignedFaces(output, _finish(folder, names, unreadable, source.name))


def _align_rest(
    folder: AlignmentFolder,
    names: Sequence[str],
    work: _Work,
    finder: Detector,
    num_processes: int | None,
) -> dict[str, str]:
    """Aligns the pictures that the folder lacks; returns why some can't be read."""
    rest = [name for name in names if name not in folder.rows]
    bar = progress_bar(
        description="aligning",
        total=len(names),
        initial=len(names) - len(rest),
        unit="picture",
    )
    processes = _num_processes(num_processes, work, len(rest))
    pictures = _align(rest, crop_names(names), work, finder, processes)
    unreadable = {}
    with bar, contextlib.closing(pictures):
        for picture in pictures:
            if picture.unreadable is None:
                folder.write(picture.name, picture.crops, picture.rows)
            else:
                unreadable[picture.name] = picture.unreadable
            bar.update(1)
    return unreadable


def _pictures(images: PathLike) -> ImageFiles:
    """The pictures of a folder, with what was left out; says what was found."""
    folder = pathlib.Path(files.path_of(images))
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise InputError(
            f"{folder}: {what}; give a folder of photographs, an archive unpacked"
        )
    listing = list_images(folder)
    source = ImageFiles(folder, [{"file_name": name} for name in listing.images])
    source.left_out, source.unreadable = listing.left_out, listing.unreadable
    if not listing.images and not listing.unreadable:
        told = [
            f"{len(names)} left out, {why}" for why, names in listing.left_out.items()
        ]
        rest = f" ({'; '.join(told)})" if told else ""
        raise InputError(f"{folder}: no pictures in it{rest}")
    for line in describe(source):
        announce(line)
    if listing.metadata:
        announce(
            f"{source.name}: {listing.metadata[0]} is not carried over; crops keep "
            "their pictures' folders, which say who is who"
        )
    return source


def _refuse_nested(images: pathlib.Path, output: pathlib.Path) -> None:
    """Crops among the photographs would be taken for photographs the next time."""
    if output.resolve().is_relative_to(images.resolve()):
        raise InputError(
            f"{output}: inside the folder of photographs; give another --output"
        )


def _size(path: pathlib.Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1  # Reading it says why.


def _num_processes(asked: int | None, work: _Work, pictures: int) -> int:
    if work.device != "cpu":
        return 1
    enough = max(1, -(-pictures // _PICTURES_PER_PROCESS))
    return asked or min(default_num_processes(), enough)


def _align(
    names: Sequence[str],
    stems: dict[str, str],
    work: _Work,
    finder: Detector,
    num_processes: int,
) -> Iterator[_Picture]:
    """Aligns pictures in their order."""
    items: Iterable[tuple[str, str]] = [(name, stems[name]) for name in names]
    if num_processes == 1:
        with quiet_decoders():
            for item in items:
                yield _align_one(item, work, finder)
        return
    made = map_in_processes(
        _align_in_worker,
        items,
        num_processes,
        initializer=_load_in_worker,
        arguments=(work,),
    )
    with contextlib.closing(made):
        yield from made


def _align_one(item: tuple[str, str], work: _Work, finder: Detector) -> _Picture:
    name, stem = item
    path = pathlib.Path(work.folder) / name
    try:
        content = read_file(path)
        image = decode_bytes(content, None, os.fspath(path))
    except UnreadableImage as error:
        return _Picture(name, {}, [], error.reason)
    if work.kept_side is not None and image.shape[:2] == (work.kept_side,) * 2:
        return _kept(name, stem, content, image, work)
    aligned, found = align_picture(
        image, finder, image_size=work.image_size, faces=work.faces
    )
    if not aligned:
        return _Picture(name, {}, [{"file": name, "status": NO_FACE, "faces": 0}])
    crops, rows = {}, []
    for number, each in enumerate(aligned):
        crop = f"{stem}_{number}.jpg" if work.faces == ALL else f"{stem}.jpg"
        crops[crop] = encode_jpeg(each.crop)
        rows.append(_row(name, crop, each, found))
    return _Picture(name, crops, rows)


def _kept(
    name: str, stem: str, content: bytes, image: np.ndarray, work: _Work
) -> _Picture:
    """A crop that is aligned already: its bytes, or resampled to another size."""
    if work.kept_side == work.image_size:
        crop = stem + (pathlib.PurePath(name).suffix if stem != name else "")
    else:
        crop = f"{stem}.jpg"
        content = encode_jpeg(decode_bytes(content, work.image_size, name))
    return _Picture(
        name, {crop: content}, [{"file": name, "crop": crop, "status": KEPT}]
    )


def _row(name: str, crop: str, aligned: AlignedFace, found: int) -> Row:
    box = zip(("left", "top", "right", "bottom"), aligned.face.box, strict=True)
    points = {
        f"{point}_{axis}": round(float(value), 2)
        for point, at in zip(POINTS, aligned.face.points, strict=True)
        for axis, value in zip("xy", at, strict=True)
    }
    return {
        "file": name,
        "crop": crop,
        "status": DOUBTFUL if aligned.doubts else ALIGNED,
        "why": "; ".join(aligned.doubts),
        "faces": found,
        "turn": aligned.turn,
        "score": round(aligned.face.score, 4),
        **{side: round(float(value), 2) for side, value in box},
        **points,
    }


def _finish(
    folder: AlignmentFolder,
    names: Sequence[str],
    unreadable: dict[str, str],
    place: str,
) -> dict[str, int]:
    """Writes the table; returns the counts."""
    rows = [row for name in names for row in folder.rows.get(name, [])]
    rows += [
        {"file": name, "status": UNREADABLE, "why": why}
        for name, why in unreadable.items()
    ]
    status = [row["status"] for row in rows]
    crops = sum("crop" in row for row in rows)
    counts = {
        "pictures": len(names),
        "crops": crops,
        **{
            kind: status.count(kind)
            for kind in (ALIGNED, DOUBTFUL, KEPT, NO_FACE, UNREADABLE)
        },
    }
    if not crops:
        raise InputError(
            f"{place}: no face found in any of {len(names):,} pictures; faces smaller "
            "than a fiftieth of the picture are not looked for"
        )
    folder.finish(rows, counts=counts)
    return counts


# The detector of a worker process: loaded once in each, since weights take a second.
_worker: tuple[_Work, Detector] | None = None


def _load_in_worker(work: _Work) -> None:
    global _worker
    import torch

    torch.set_num_threads(1)
    _worker = work, load_detector(work.detector, device=work.device)


def _align_in_worker(item: tuple[str, str]) -> _Picture:
    with quiet_decoders():
        return _align_one(item, *_worker)
