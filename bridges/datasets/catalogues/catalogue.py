"""The catalogues by name: what reads the folder of each.

A catalogue says by its names of folders and files who is on an image, and sometimes how
old and of which gender and ethnicity. To read another one, write a function that takes
its folder and returns a :class:`bridges.datasets.folder_layouts.FolderContent`, most
easily by :func:`bridges.datasets.catalogues.by_name.read_names`, and add a line here.
"""

import pathlib
from collections.abc import Callable
from typing import Any

from bridges.registry import Registry

# Values of --identity_from. Nothing is imported before one of them is asked for.
CATALOGUES: Registry[Callable[[pathlib.Path], Any]] = Registry(
    "catalogue",
    {
        name: f"bridges.datasets.catalogues.{name}:read"
        for name in (
            *("agedb", "bupt", "casia", "digiface", "lfw", "rfw", "stylegan"),
            "utkface",
        )
    },
)
