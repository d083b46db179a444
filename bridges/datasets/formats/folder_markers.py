"""What folder holds a dataset in a few files, told by the names of these files.

A folder of images stays one whatever else lies in it: ``metadata.jsonl`` or a folder
beside them is asked first where a file alone would not be proof.
"""

import json
import pathlib
from typing import Any

from bridges.datasets.dataset_format import DESCRIPTION, METADATA, METADATA_TABLE
from bridges.datasets.folder_listing import BESIDE_GENERATED

_SAVED = ("dataset_info.json", "state.json")
_SPLITS = "dataset_dict.json"
# What lies beside shards.
_BESIDE_SHARDS = (".csv", ".idx", ".json", ".jsonl", ".md", ".tar", ".txt")


def has_lmdb(folder: pathlib.Path) -> bool:
    """Whether the folder is an LMDB environment."""
    return (folder / "data.mdb").is_file()


def has_saved_dataset(folder: pathlib.Path) -> bool:
    """Whether ``datasets`` of Hugging Face has saved it, one split or several."""
    one = all((folder / name).is_file() for name in _SAVED)
    return one or (folder / _SPLITS).is_file()


def has_record_file(folder: pathlib.Path) -> bool:
    """Whether it has a RecordIO file, and no metadata of images beside it."""
    return not _is_described(folder) and any(folder.glob("*.rec"))


def has_shards(folder: pathlib.Path) -> bool:
    """Whether it holds tar archives, and but for tables nothing else."""
    if _is_described(folder):
        return False
    shards = 0
    for entry in folder.iterdir():
        if entry.name.startswith(".") or entry.name in BESIDE_GENERATED:
            continue
        if entry.suffix not in _BESIDE_SHARDS or entry.is_dir():
            return False
        shards += entry.suffix == ".tar"
    return shards > 0


def has_stylegan_labels(folder: pathlib.Path) -> bool:
    """Whether ``dataset.json`` is StyleGAN's, not the description of ours."""
    path = folder / DESCRIPTION
    if _is_described(folder) or not path.is_file():
        return False
    try:
        value = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False  # who reads it as a folder of images refuses it
    return is_stylegan(value)


def is_stylegan(value: Any) -> bool:
    """Whether the content of a ``dataset.json`` has StyleGAN's shape."""
    if not isinstance(value, dict) or "format_version" in value:
        return False
    return isinstance(value.get("labels", 0), list | None)


def _is_described(folder: pathlib.Path) -> bool:
    return any((folder / name).exists() for name in (METADATA, METADATA_TABLE))
