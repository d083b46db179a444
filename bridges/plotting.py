"""Matplotlib as it comes: nothing of the user's reaches it, and it opens no window.

A notebook's ``MPLBACKEND``, a broken ``matplotlibrc``, TeX, a home directory that may
not be written to: some of these change a drawing, others break the mere import. So
whoever draws takes matplotlib from here, and draws inside :func:`drawing_style`.
"""

import contextlib
import importlib.util
import logging
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

_RC_FILE = "matplotlibrc"
# Set while matplotlib is imported, the last by itself: to a temporary folder.
_VARIABLES = ("MPLBACKEND", "MATPLOTLIBRC", "MPLCONFIGDIR")
# Read when a drawing is saved, and refused where it is no number.
_DATE = "SOURCE_DATE_EPOCH"
# How matplotlib is run, not how it draws.
_NOT_OF_DRAWINGS = ("backend", "backend_fallback", "interactive", "toolbar")


@contextlib.contextmanager
def drawing_style(style: Mapping[str, Any]) -> Iterator[None]:
    """Draws with matplotlib's defaults and ``style``, whatever else is set.

    Args:
      style: settings by their names in ``matplotlib.rcParams``.
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
def _without_settings_of_the_user() -> Iterator[None]:
    """Hides them from matplotlib while it is imported."""
    before = {name: os.environ.get(name) for name in _VARIABLES}
    found = importlib.util.find_spec("matplotlib")
    data = pathlib.Path(found.origin).with_name("mpl-data")
    os.environ["MPLBACKEND"] = "agg"
    os.environ["MATPLOTLIBRC"] = os.fspath(data / _RC_FILE)
    # A file in the working directory comes before the one that the variable names.
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
    """Keeps it from telling of caches that it can't write to."""
    logger = logging.getLogger("matplotlib")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


with _without_settings_of_the_user():
    import matplotlib as matplotlib
    from matplotlib import ticker as ticker
    from matplotlib.axes import Axes as Axes
    from matplotlib.axis import Axis as Axis

    # This reads fonts, and with them the caches.
    from matplotlib.figure import Figure as Figure
