"""An installed copy is whole: scripts, data files, pinned versions, weights."""

import configparser
import importlib
import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from hyperface_jax import files
from tests.console_scripts import SCRIPTS

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PRETRAINED = ROOT / "bridges" / "pretrained"
_BUILD_FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_console_script_runs_a_function_that_exists(script):
    module = importlib.import_module(SCRIPTS[script])
    assert callable(module.run) and module.__doc__


def test_everything_needed_is_pinned():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needed = setup["options"]["install_requires"].split()
    needed += setup["options.extras_require"]["test"].split()
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.lower().split("==") for line in lines)
    names = [re.split(r"[<>=]", requirement)[0] for requirement in needed]
    assert not [name for name in names if name.lower() not in pinned]
    # A range would bring gigabytes of another build.
    assert re.fullmatch(r"\d+\.\d+\.\d+", pinned["torch"])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names of the files in a wheel built from a copy of the sources."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("building needs setuptools in this environment")
    folder = tmp_path_factory.mktemp("wheel")
    for name in _BUILD_FILES:
        shutil.copy(ROOT / name, folder)
    for package in ("hyperface_jax", "bridges"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", folder / "out", folder),
        ],
        check=True,
    )
    (path,) = (folder / "out").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    tracked = subprocess.run(
        ["git", "ls-files", "hyperface_jax", "bridges"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    ).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    assert not [name for name in tracked if name not in wheel]


def test_the_wheel_holds_nothing_else(wheel):
    assert not [name for name in wheel if name.split("/")[0] in ("tests", "benchmarks")]


def weights() -> list[pathlib.Path]:
    return sorted(PRETRAINED.glob("*/*.safetensors"))


def test_shipped_weights_are_small_and_have_a_model_card():
    assert sum(path.stat().st_size for path in weights()) <= 40e6
    for path in weights():
        card = (path.parent / "README.md").read_text().lower()
        assert "licence" in card or "license" in card


def test_the_workspace_names_every_shipped_file_and_its_checksum():
    text = (ROOT / "WORKSPACE.md").read_text()
    for path in [ROOT / "bridges" / "faces" / "head_model.npz", *weights()]:
        (line,) = re.findall(rf"^\| `{path.relative_to(ROOT)}` .*$", text, re.MULTILINE)
        assert files.sha256_of(path) in line
