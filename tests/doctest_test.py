"""The examples in docstrings of public functions print what they say."""

import doctest
import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


def modules_with_examples() -> list[str]:
    """Names of the modules that have a line to be typed in."""
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("hyperface_jax", "bridges")
        for path in (ROOT / package).rglob("*.py")
        if ">>> " in path.read_text()
    )


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_print_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
