"""Packages that a format needs and the installation may lack."""

import importlib
import os
from types import ModuleType

from hyperface_jax import InputError


def need(package: str, what: str) -> ModuleType:
    """Imports a package of the extra ``formats``.

    Args:
      package: its name.
      what: it is needed for.

    Raises:
      InputError: it is not installed.
    """
    # Nothing here asks a hub for anything, or tells it.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module(package)
    except ImportError:
        raise InputError(
            f"{what} needs the package {package}: pip install '.[formats]' where this "
            "project lies"
        ) from None
