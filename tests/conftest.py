"""What all tests share: quiet threads, unit rows, commands called in this process."""

import os
import pathlib
import shutil
import signal
import sys
import tempfile

import numpy as np
import pytest

# Before torch or JAX load: tests run beside other work, and threads that spin while
# they wait slow everything on the machine down.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Shapes that meet by chance are refused. Types stay free: optax's Adam itself raises a
# float to an integer power.
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
# A runner started in the background ignores Ctrl-C, and so would the commands under
# test, whose answer to it is what some tests are about.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = pathlib.Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Has the processes of a run share the cores and what JAX compiles."""
    if hasattr(config, "workerinput"):
        return
    if workers := config.getoption("numprocesses", None):
        threads = max(1, (os.cpu_count() or 1) // workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="compiled-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture
def unit_rows() -> np.ndarray:
    """``[20, 8]`` float32 random unit rows, the same in every test."""
    rows = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Drops what JAX compiled for a module of tests: it adds up to gigabytes."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


@pytest.fixture(autouse=True)
def refuse_rank_promotion():
    """Commands, which a test may run in this process, set JAX as users have it."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].config.update(
            "jax_numpy_rank_promotion", os.environ["JAX_NUMPY_RANK_PROMOTION"]
        )


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs a command in this process: exit code, standard output, standard error."""

    def run(command, **settings):
        for name in command.FLAGS:
            command.FLAGS[name].unparse()
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        monkeypatch.setattr(sys, "argv", ["command", *arguments])
        with pytest.raises(SystemExit) as stopped:
            command.run()
        return stopped.value.code, *capsys.readouterr()

    return run
