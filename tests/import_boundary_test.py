"""Who may load whom: contracts on imports, and what processes have in memory."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

import hyperface_jax

ROOT = pathlib.Path(__file__).resolve().parent.parent


def modules_under(package: str) -> list[str]:
    """Every module of a package by name, command-line modules included."""
    names = []
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def run(program: str) -> tuple[set[str], str]:
    """The top-level packages in memory after ``program``, and what it printed."""
    listing = "\nimport sys\nprint(*{name.split('.')[0] for name in sys.modules})"
    result = subprocess.run(
        [sys.executable, "-c", program + listing],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    *printed, names = result.stdout.splitlines()
    return set(names.split()), "\n".join(printed) + result.stderr


def loaded_after(program: str) -> set[str]:
    """The top-level packages in memory after running ``program``."""
    return run(program)[0]


def imports_of(package: str) -> list[str]:
    return [f"import {name}" for name in modules_under(package)]


def test_the_core_never_loads_torch_or_bridges():
    loaded = loaded_after("\n".join(imports_of("hyperface_jax")))
    assert "jax" in loaded, "the check has something to check"
    assert not loaded & {"torch", "diffusers", "transformers", "bridges"}


def test_bridges_load_without_jax_without_a_word_and_without_a_thread():
    program = [
        "import threading",
        "before = threading.active_count()",
        *imports_of("bridges"),
        "assert threading.active_count() == before",
    ]
    loaded, printed = run("\n".join(program))
    assert "torch" in loaded, "the check has something to check"
    assert not loaded & {"jax", "jaxlib", "optax"}
    assert printed == ""


def test_naming_implementations_loads_none_of_them():
    loaded = loaded_after(
        "from bridges.recognisers.recogniser import RECOGNISERS\n"
        "from bridges.datasets.image_source import IMAGE_SOURCES\n"
        "assert {'checkpoint', 'dlib'} <= set(RECOGNISERS)\n"
        "assert 'folder' in IMAGE_SOURCES"
    )
    assert not loaded & {"torch", "PIL", "jax"}


def test_reading_an_embedding_file_loads_neither(tmp_path, unit_rows):
    path = tmp_path / "a.npz"
    loaded = loaded_after(
        "import numpy, hyperface_jax as h\n"
        f"h.save_embeddings({str(path)!r}, numpy.eye(3), kind='gallery')\n"
        f"h.load_embeddings({str(path)!r})"
    )
    assert not loaded & {"jax", "torch", "bridges"}


def test_every_public_name_exists():
    loaded_after(
        "import hyperface_jax as h\n"
        "for name in h.__all__: assert getattr(h, name) is not None, name"
    )


def test_imports_keep_the_contracts():
    """The layers and boundaries that pyproject.toml states for import-linter."""
    program = "from importlinter.cli import lint_imports_command as c; c()"
    result = subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--no-logo", "pyproject.toml"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_stub_lists_names_that_type_checkers_reexport():
    """``import x as x`` is a public name of a stub, ``import x`` a private one."""
    stub = ast.parse((ROOT / "hyperface_jax" / "__init__.pyi").read_text())
    imported = [alias for node in stub.body for alias in node.names]
    assert all(alias.name == alias.asname for alias in imported)
    assert sorted(alias.name for alias in imported) == sorted(hyperface_jax.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        hyperface_jax.no_such_name  # noqa: B018
    assert dir(hyperface_jax) == sorted(hyperface_jax.__all__)
