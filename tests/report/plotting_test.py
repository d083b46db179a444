"""No setting of the user or the program changes a drawing or breaks the import."""

import ast
import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.plots import Panel, draw_bars, draw_curves
from bridges.plotting import matplotlib
from bridges.report.plots import (
    Histogram,
    Mark,
    plot_accuracies,
    plot_convergence,
    plot_histogram,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]
VARIABLES = ("MPLBACKEND", "MATPLOTLIBRC", "MPLCONFIGDIR")
# Values that change drawings, values that matplotlib refuses, a malformed line, and
# bytes that are not UTF-8.
RC = b"""backend: nonsense
text.usetex: True
font.size: 40
font.family: Comic Sans MS
axes.formatter.use_locale: True
axes.prop_cycle: 7
a line without its colon
\xff\xfe
"""


def drawings(folder: pathlib.Path) -> dict[str, bytes]:
    """One drawing of every kind, by name."""
    steps, values = np.arange(0.0, 300, 10), np.exp(-np.arange(30.0))
    counts = {"before": np.arange(8), "after": np.arange(8)[::-1]}
    edges = np.linspace(-1, 1, 9)
    svgs = {
        "convergence": plot_convergence(steps, values, label="J", mark=Mark(0.1, "b")),
        "histogram": plot_histogram(
            Histogram(edges, counts), label="h", xlabel="cosine", mark=Mark(0.3, "b")
        ),
        "accuracies": plot_accuracies(["a", "b"], {"packed": [(0.9, 0.01)] * 2}),
    }
    panel = Panel("title", "x", "y", {"a": ([1, 10, 100], [3.0, 2.0, 1.0])}, {"l": 1.5})
    draw_curves(str(folder / "curves.json"), [panel])
    draw_bars(str(folder / "bars.json"), ["a", "b"], {"seconds": [1, 2000.5]})
    return {
        **{name: svg.encode() for name, svg in svgs.items()},
        **{path.name: path.read_bytes() for path in sorted(folder.iterdir())},
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return drawings(tmp_path_factory.mktemp("drawings"))


@pytest.fixture
def hostile(tmp_path):
    """A working directory and an environment full of matplotlib settings."""
    home, here = tmp_path / "home", tmp_path / "here"
    config = home / ".config" / "matplotlib"
    (config / "stylelib").mkdir(parents=True)
    here.mkdir()
    for path in (
        config / "matplotlibrc",
        config / "stylelib" / "mine.mplstyle",
        here / "matplotlibrc",
        tmp_path / "rc",
        tmp_path / "file",
    ):
        path.write_bytes(RC)
    return here, {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "MPLBACKEND": "module://no_such_package.backend_inline",
        "MATPLOTLIBRC": str(tmp_path / "rc"),
        # Not even root can create a folder below a file.
        "MPLCONFIGDIR": str(tmp_path / "file" / "config"),
        "LC_ALL": "de_DE.ISO-8859-1",
    }


def test_no_user_setting_reaches_a_drawing(hostile, expected, tmp_path):
    here, variables = hostile
    program = (
        "import os, pathlib, pickle, sys\n"
        "from tests.report.plotting_test import VARIABLES, drawings\n"
        "after = {name: os.environ.get(name) for name in VARIABLES}\n"
        "found = drawings(pathlib.Path(sys.argv[1]))\n"
        "sys.stdout.buffer.write(pickle.dumps((after, os.getcwd(), found)))\n"
    )
    (tmp_path / "drawings").mkdir()
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "drawings")],
        capture_output=True,
        cwd=here,
        env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
    )
    assert (result.returncode, result.stderr) == (0, b"")
    after, folder, found = pickle.loads(result.stdout)
    assert after == {name: variables[name] for name in VARIABLES}
    assert pathlib.Path(folder).samefile(here)
    assert found == expected


def test_no_program_setting_reaches_a_drawing(expected, tmp_path):
    settings = {"text.usetex": True, "font.size": 40, "axes.facecolor": "red"}
    with matplotlib.rc_context(settings):
        assert drawings(tmp_path) == expected
        assert matplotlib.rcParams["font.size"] == 40


@pytest.mark.parametrize("date", ["abc", "", "0"])
def test_no_date_reaches_a_drawing(date, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", date)
    assert drawings(tmp_path) == expected
    assert os.environ["SOURCE_DATE_EPOCH"] == date


def test_matplotlib_is_imported_in_one_module():
    for package in ("bridges", "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                names = [getattr(node, "module", None) or ""]
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif not isinstance(node, ast.ImportFrom):
                    continue
                direct = any(name.split(".")[0] == "matplotlib" for name in names)
                assert not direct or path.name == "plotting.py", path
