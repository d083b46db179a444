"""Matplotlib with its default settings, whatever the user has set, and no window.

A notebook's ``MPLBACKEND``, a broken ``matplotlibrc``, TeX or a read-only home
directory can change a drawing or make the import fail. So all drawing code imports
matplotlib from here and draws inside :func:`drawing_style`.
"""

import contextlib
import importlib.util
import logging
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

_RC_FILE = "matplotlibrc"
# Set during the import; matplotlib sets the last to a temporary folder if need be.
_VARIABLES = ("MPLBACKEND", "MATPLOTLIBRC", "MPLCONFIGDIR")
# Read when a drawing is saved; an error unless it is a number.
_DATE = "SOURCE_DATE_EPOCH"
# Settings of how matplotlib runs, not of how it draws.
_NOT_OF_DRAWINGS = ("backend", "backend_fallback", "interactive", "toolbar")


@contextlib.contextmanager
def drawing_style(style: Mapping[str, Any]) -> Iterator[None]:
    """Applies matplotlib's defaults and ``style``, whatever else is set.

    Args:
      style: settings by name in ``matplotlib.rcParams``.
    """
    defaults = {
        name: value
        for name, value in matplotlib.rcParamsDefault.items()
        if name not in _NOT_OF_DRAWINGS
    }
    date = os.environ.pop(_DATE, None)
    try:
        with matplotlib.rc_context({**defaults, **style}):
            yield
    finally:
        if date is not None:
            os.environ[_DATE] = date


@contextlib.contextmanager
def _without_user_settings() -> Iterator[None]:
    """Hides the user's settings from matplotlib while it is imported."""
    before = {name: os.environ.get(name) for name in _VARIABLES}
    found = importlib.util.find_spec("matplotlib")
    data = pathlib.Path(found.origin).with_name("mpl-data")
    os.environ["MPLBACKEND"] = "agg"
    os.environ["MATPLOTLIBRC"] = os.fspath(data / _RC_FILE)
    # A file in the working directory takes precedence over the variable.
    hidden = os.path.lexists(_RC_FILE)
    try:
        with contextlib.chdir(data) if hidden else contextlib.nullcontext(), _quiet():
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences matplotlib's warnings about caches that it cannot write to."""
    logger = logging.getLogger("matplotlib")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


with _without_user_settings():
    import matplotlib as matplotlib
    from matplotlib import ticker as ticker
    from matplotlib.axes import Axes as Axes
    from matplotlib.axis import Axis as Axis

    # Imports the fonts, which are cached.
    from matplotlib.figure import Figure as Figure
