"""Folders that hold images in another way than as files, known by their content."""

import json
import os
import pathlib

from bridges.datasets.dataset_format import DESCRIPTION, METADATA

FOLDER = "folder"


def kind_of_folder(folder: pathlib.Path) -> str:
    """What a folder is, a key of :data:`bridges.datasets.image_source.IMAGE_SOURCES`.

    Args:
      folder: it exists.

    Returns:
      ``".rec"``, ``".mdb"``, ``".tar"``, ``"datasets"`` or ``"stylegan"`` where it
      is unmistakable; ``"folder"``, of image files, otherwise.
    """
    try:
        names = set(os.listdir(folder))
    except OSError:
        return FOLDER  # Which says what is wrong.
    if METADATA in names:
        return FOLDER
    if "data.mdb" in names:
        return ".mdb"
    if {"dataset_info.json", "state.json"} <= names:
        return "datasets"
    if DESCRIPTION in names:
        return "stylegan" if _is_of_stylegan(folder / DESCRIPTION) else FOLDER
    shown = [name for name in names if not name.startswith(".")]
    for suffix in (".rec", ".tar"):
        is_one = any(name.lower().endswith(suffix) for name in shown)
        if is_one and not any((folder / name).is_dir() for name in shown):
            return suffix
    return FOLDER


def _is_of_stylegan(path: pathlib.Path) -> bool:
    """Whether a ``dataset.json`` is StyleGAN's, not a description of ours."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "labels" in found and "kind" not in found
