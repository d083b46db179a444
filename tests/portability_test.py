"""What only POSIX has is missing on other systems, and nothing may need it there."""

import ast
import pathlib
import subprocess
import sys
import textwrap

import pytest

from tests.import_boundary_test import modules_under

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("hyperface_jax", "bridges")
POSIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty"}
# Windows, as Python documents it. What of these our sources use, they have to do
# without; what other packages use is theirs, and they are imported before.
MISSING = {
    "os": [
        "O_DIRECTORY", "chown", "fork", "getegid", "geteuid", "getgid", "getuid",
        "killpg", "mkfifo", "mknod", "sched_getaffinity", "setsid", "setuid",
        "statvfs", "sync", "uname",
    ],
    "signal": [
        "SIGALRM", "SIGHUP", "SIGUSR1", "alarm", "pthread_sigmask", "setitimer",
        "sigwait",
    ],
}  # fmt: skip
PROGRAM = """
    import json, os, pathlib, signal, sys, tempfile
    import absl.flags, diffusers, filelock, jax, matplotlib.figure, multiprocessing
    import multiprocessing.connection, multiprocessing.resource_tracker, numba, optax
    import PIL.Image, safetensors.torch, scipy.stats, torch.distributed, tqdm
    import torch.multiprocessing, concurrent.futures.process, concurrent.futures.thread

    modules, posix, missing = json.loads(sys.argv[1])
    for name in posix:
        sys.modules[name] = None
    for module, names in missing.items():
        for name in names:
            if hasattr(sys.modules[module], name):
                delattr(sys.modules[module], name)
    import importlib
    for module in modules:
        importlib.import_module(module)

    import numpy as np
    from bridges.datasets.image_dataset import ImageDataset, ImageDatasetWriter
    from bridges.worker_processes import default_num_processes
    from hyperface_jax import interruptions, load_embeddings, save_embeddings

    assert default_num_processes() >= 1
    folder = pathlib.Path(tempfile.mkdtemp())
    with interruptions.answered("interrupted"), interruptions.held_back():
        pass
    save_embeddings(folder / "a.npz", np.eye(3), kind="gallery")
    assert len(load_embeddings(folder / "a.npz").embeddings) == 3
    with ImageDatasetWriter(folder / "set", settings={}, kind="rendered") as writer:
        image = np.zeros((8, 8, 3), np.uint8)
        writer.write(image, {"identity": 0, "index": 0, "seed": 0})
        writer.finish()
    assert ImageDataset(folder / "set").load().shape == (1, 8, 8, 3)
    print("done")
"""


def test_everything_imports_and_writes_without_what_only_posix_has():
    import json

    modules = [module for package in PACKAGES for module in modules_under(package)]
    given = json.dumps([modules, sorted(POSIX_MODULES), MISSING])
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), given],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.stdout.endswith("done\n"), result.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_no_text_depends_on_the_locale(package):
    """Every ``open`` and ``read_text`` of text says its encoding."""
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            named = {keyword.arg for keyword in node.keywords}
            method = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if method in ("read_text", "write_text") and not _is_files(node.func):
                given = len(node.args) > (method == "write_text")
                assert given or "encoding" in named, f"{path}:{node.lineno}"
            if isinstance(node.func, ast.Name) and method == "open":
                mode = node.args[1].value if len(node.args) > 1 else "r"
                assert "b" in mode or "encoding" in named, f"{path}:{node.lineno}"


def _is_files(function: ast.expr) -> bool:
    """Whether a call is of ``files.write_text``, which is always UTF-8."""
    return getattr(getattr(function, "value", None), "id", "") == "files"
