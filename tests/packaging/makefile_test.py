"""The Makefile: sets up once, and refuses an old Python in a clear line."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def checkout(tmp_path):
    """What ``make`` looks at, without an environment."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(checkout, *arguments):
    return subprocess.run(
        ["make", *arguments], cwd=checkout, capture_output=True, text=True
    )


def pretend_installed(checkout):
    """A stamp as new as the finished installation it stands for."""
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / ".installed").touch()


@pytest.mark.parametrize("target", ["demo", "test", "test-gpu", "lint", "setup"])
def test_every_target_sets_up_first(checkout, target):
    assert "pip install" in make(checkout, "--dry-run", target).stdout


@pytest.mark.parametrize("target", ["demo", "test", "test-gpu", "lint", "setup"])
def test_a_second_call_does_not_install(checkout, target):
    pretend_installed(checkout)
    result = make(checkout, "--dry-run", target)
    assert result.returncode == 0 and "pip install" not in result.stdout


def test_changed_requirements_install_again(checkout):
    pretend_installed(checkout)
    later = (checkout / ".venv" / ".installed").stat().st_mtime + 10
    os.utime(checkout / "constraints.txt", (later, later))
    assert "pip install" in make(checkout, "--dry-run", "setup").stdout


def test_help_lists_every_target_without_setting_up(checkout):
    result = make(checkout, "help")
    assert result.returncode == 0 and not (checkout / ".venv").exists()
    text = (checkout / "Makefile").read_text()
    (targets,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    listed = re.findall(r"^  ([\w-]+) +\S", result.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(targets.split())


def test_an_old_python_is_refused_in_a_clear_line(checkout):
    old = checkout / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1 || exit 1\n')
    old.chmod(0o755)
    result = make(checkout, f"PYTHON={old}", "setup")
    assert result.returncode != 0
    assert "needs Python 3.11 or newer" in result.stderr
    assert "Python 3.9.1" in result.stderr
    assert not (checkout / ".venv").exists()


def test_a_failing_suite_fails_the_target(checkout):
    pretend_installed(checkout)
    python = checkout / ".venv" / "bin" / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    ruff = checkout / ".venv" / "bin" / "ruff"
    ruff.write_text("#!/bin/sh\nexit 0\n")
    ruff.chmod(0o755)
    assert make(checkout, "test").returncode != 0
