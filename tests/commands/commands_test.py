"""Every console script of setup.cfg: help, refusals, and no flag without a use."""

import ast
import configparser
import importlib
import importlib.util
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def console_scripts() -> dict[str, str]:
    """The commands by name, with the module each one runs."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = parser["options.entry_points"]["console_scripts"].strip().splitlines()
    pairs = (line.split("=") for line in lines)
    return {name.strip(): target.strip().split(":")[0] for name, target in pairs}


SCRIPTS = console_scripts()


@pytest.fixture(params=SCRIPTS)
def script(request):
    return request.param


def run(script: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", SCRIPTS[script], *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )


def test_help_is_for_a_newcomer(script):
    result = run(script, "--help")
    assert result.returncode == 0, result.stderr
    assert f"{script} --" in result.stdout, "an example that can be copied"
    assert result.stdout.count("\n  --") >= 1, "the flags"


def test_an_unknown_flag_is_refused_in_one_line(script):
    result = run(script, "--no_such_flag=1")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "no_such_flag" in result.stderr


def test_an_argument_that_is_no_flag_is_refused(script):
    result = run(script, "gallery.npz")
    assert result.returncode == 2
    assert "unexpected argument 'gallery.npz'" in result.stderr


def test_a_required_flag_is_asked_for(script):
    result = run(script)
    assert result.returncode == 2, result.stdout
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "--" in result.stderr, "the message names the flag"


def test_every_flag_is_read(script):
    """Each flag's name occurs as ``FLAGS.name``, or the flags are passed on whole."""
    module = importlib.import_module(SCRIPTS[script])
    tree = ast.parse(pathlib.Path(module.__file__).read_text())
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "FLAGS"
    }
    read |= {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    } - defined_names(tree)
    unread = {name for name in module.FLAGS if name not in read}
    assert not unread or "flag_values_dict" in read, f"accepted, never read: {unread}"


def defined_names(tree: ast.Module) -> set[str]:
    """The names given to ``flags.DEFINE_…`` calls."""
    return {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr.startswith("DEFINE_")
    }
