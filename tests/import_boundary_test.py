"""Who may load whom: each import runs in a process of its own."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLUMBING = {
    "hyperface_jax.checks",
    "hyperface_jax.commands",
    "hyperface_jax.files",
    "hyperface_jax.interruptions",
}


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


def imported_names(path: pathlib.Path) -> set[str]:
    """Modules a file imports anywhere; ``from a import b`` gives ``a`` and ``a.b``."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("package", ["hyperface_jax", "bridges"])
def test_a_library_module_never_imports_a_command(package):
    for path in (ROOT / package).rglob("*.py"):
        if "cli" not in path.parts:
            offending = {n for n in imported_names(path) if ".cli" in n}
            assert not offending, f"{path} imports {offending}"


def test_bridges_use_only_public_names_of_the_core():
    public = set(
        subprocess.run(
            [sys.executable, "-c", "import hyperface_jax as h; print(*h.__all__)"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        ).stdout.split()
    )
    allowed = {"hyperface_jax", *PLUMBING, *(f"hyperface_jax.{n}" for n in public)}
    for path in (ROOT / "bridges").rglob("*.py"):
        for name in imported_names(path):
            if name.split(".")[0] == "hyperface_jax":
                inside = any(name.startswith(f"{module}.") for module in PLUMBING)
                assert name in allowed or inside, f"{path} imports {name}"
