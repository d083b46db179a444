"""Folders of StyleGAN2-ADA: images, and ``dataset.json`` with their labels.

::

    {"labels": [["00000/img00000000.png", 6], ["00000/img00000001.png", 9], …]}

A label is the number of a class, or a vector. Classes become identities, given as
numbers or as vectors with a single 1; other vectors are kept in the metadata as
``label``, and nothing says who is on an image. ``null`` stands for no labels.
"""

import math
import os
import pathlib
import posixpath
import reprlib
from collections.abc import Mapping
from typing import Any

from bridges.datasets.dataset_format import DESCRIPTION
from bridges.datasets.folder_layouts import FolderContent
from bridges.datasets.folder_listing import list_images
from hyperface_jax import InputError
from hyperface_jax.artifacts import read_json


def read(folder: pathlib.Path) -> FolderContent:
    """Reads the labels; opens no image.

    Raises:
      InputError: no ``dataset.json`` or none of StyleGAN's, or a label that is none.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise InputError(
            f"{folder}: no folder of StyleGAN2-ADA, which has a {DESCRIPTION} beside "
            "its images; give the folder that holds it, or another --identity_from"
        )
    described = read_json(path)
    if "labels" not in described:
        raise InputError(
            f"{path}: has no 'labels', so it is none of StyleGAN2-ADA; leave out "
            "--identity_from=stylegan"
        )
    listing = list_images(folder)
    if described["labels"] is None:
        records = [{"file_name": name} for name in listing.images]
        return FolderContent(records, None, listing.left_out, listing.unreadable)
    labels = parse_labels(described["labels"], path)
    unnamed = [name for name in listing.images if name not in labels]
    left_out = {f"not in {DESCRIPTION}": unnamed} if unnamed else {}
    classes = classes_of(labels)
    if classes is not None:
        records = [{"file_name": name} for name in labels]
        return FolderContent(records, classes, left_out, listing.unreadable)
    records = [{"file_name": name, "label": label} for name, label in labels.items()]
    return FolderContent(records, None, left_out, listing.unreadable)


def parse_labels(
    found: Any, path: str | os.PathLike[str]
) -> dict[str, int | list[float]]:
    """The labels of ``dataset.json`` by the names of the images, in its order.

    Args:
      found: what the file has as ``labels``, but ``None``.
      path: of the file, for messages.

    Raises:
      InputError: no list of names with labels, labels of several forms or none of the
        two, a name twice, or one that leads out of the folder.
    """
    if not isinstance(found, list) or not found:
        raise InputError(f"{path}: 'labels' is no list of names with labels, or empty")
    labels: dict[str, int | list[float]] = {}
    length = None
    for number, entry in enumerate(found, start=1):
        if not isinstance(entry, list) or len(entry) != 2:
            raise InputError(f"{path}: entry {number} of 'labels' is no name and label")
        name, label = _checked_name(path, number, entry[0]), entry[1]
        if not _is_label(label):
            raise InputError(
                f"{path}: the label of {name} is {reprlib.repr(label)}, expected a "
                "whole number from 0 or a list of numbers"
            )
        size = len(label) if isinstance(label, list) else 0
        length = size if length is None else length
        if size != length:
            raise InputError(
                f"{path}: the label of {name} has another form than those before it; "
                "give numbers for all, or vectors of one length"
            )
        if name in labels:
            raise InputError(f"{path}: names {name} twice; remove one of the entries")
        labels[name] = label
    return labels


def classes_of(labels: Mapping[str, int | list[float]]) -> list[int] | None:
    """The class of each label; None where one is a vector of no class.

    Args:
      labels: of :func:`parse_labels`.
    """
    classes = []
    for label in labels.values():
        if not isinstance(label, list):
            classes.append(label)
        elif _is_single(label):
            classes.append(label.index(1))
        else:
            return None
    return classes


def _checked_name(path: str | os.PathLike[str], number: int, name: Any) -> str:
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError(f"{path}: entry {number} of 'labels' names no image")
    name = posixpath.normpath(name.replace("\\", "/"))
    if posixpath.isabs(name) or name.split("/")[0] == "..":
        raise InputError(
            f"{path}: entry {number} of 'labels' names {name}, which is not below the "
            "folder"
        )
    return name


def _is_label(label: Any) -> bool:
    if isinstance(label, list):
        return bool(label) and all(
            type(x) is int or (isinstance(x, float) and math.isfinite(x)) for x in label
        )
    # Labels are int64 from there on.
    return type(label) is int and 0 <= label < 2**63


def _is_single(label: list[float]) -> bool:
    """Whether a vector has a single 1 among zeros."""
    return sorted(label) == [0] * (len(label) - 1) + [1]
