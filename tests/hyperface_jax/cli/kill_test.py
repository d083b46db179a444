"""hyperface-pack killed again and again: the result is that of one run, to the bit."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from hyperface_jax import load_embeddings, save_embeddings
from tests.hyperface_jax import packing_oracles

KILLS = 20
# JAX is imported once; each run of the command is a child forked before JAX starts a
# thread, so the twenty runs cost little more than their work.
SERVER = textwrap.dedent(
    """
    import os, sys, warnings
    from hyperface_jax.cli import pack
    from hyperface_jax.packing import packing
    from hyperface_jax.analysis import record
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            sys.argv = ["hyperface-pack", *line.split()]
            pack.run()
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    """
)


@pytest.fixture
def start(tmp_path, root):
    """Starts the command with flags: its process, and a function to await its end."""
    cache = tmp_path / "compiled"
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    errors = open(tmp_path / "errors.txt", "w+")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        cwd=root,
        env=environment,
    )

    def start(**settings):
        flags = " ".join(f"--{name}={value}" for name, value in settings.items())
        server.stdin.write(flags + "\n")
        server.stdin.flush()
        return int(next_number(server.stdout)), lambda: next_number(server.stdout)

    start.errors = tmp_path / "errors.txt"
    yield start
    server.stdin.close()
    server.wait()
    errors.close()


def next_number(lines):
    """The next line that is a number: the command prints, too."""
    for line in lines:
        if line.strip().lstrip("-").isdigit():
            return int(line)
    raise AssertionError("the server died")


def wait_for_another(path, before, seconds):
    """Waits until ``path`` is another file than ``before``."""
    end = time.monotonic() + seconds
    while inode(path) in (None, before) and time.monotonic() < end:
        time.sleep(0.002)


def inode(path):
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


@pytest.mark.slow
def test_twenty_kills_and_a_ctrl_c_change_nothing(start, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    gallery = tmp_path / "gallery.npz"
    rows = packing_oracles.clustered_rows(24, 8)
    save_embeddings(gallery, rows, kind="gallery")
    settings = {"gallery": gallery, "method": "algorithm1", "num_iterations": 3000}
    _, end = start(**settings, output=tmp_path / "whole.npz")
    assert end() == 0

    output = folder / "references.npz"
    checkpoint = folder / ".references.checkpoint.npz"
    settings |= {"output": output}
    moment = random.Random(0)
    for kill in range(KILLS):
        before = inode(checkpoint)
        process, end = start(**settings, checkpoint_seconds=0)
        # One in five before it has got anywhere; the others some time after their
        # first checkpoint, most likely while they write another.
        if kill % 5 != 4:
            wait_for_another(checkpoint, before, 60)
        time.sleep(moment.uniform(0, 0.03))
        os.kill(process, signal.SIGKILL)
        assert end() == -signal.SIGKILL
        assert not output.exists()

    before = inode(checkpoint)
    process, end = start(**settings, checkpoint_seconds=0)
    wait_for_another(checkpoint, before, 60)
    os.kill(process, signal.SIGINT)
    assert end() == 130
    assert "the same command continues" in start.errors.read_text()
    with np.load(checkpoint) as saved:
        assert KILLS / 2 < len(saved["history"]) < 3000

    _, end = start(**settings)
    assert end() == 0
    whole, found = load_embeddings(tmp_path / "whole.npz"), load_embeddings(output)
    np.testing.assert_array_equal(found.embeddings, whole.embeddings)
    for name in ("history", "objective", "max_cosine", "stopped"):
        assert found.metadata["packing"][name] == whole.metadata["packing"][name]
    # Neither the checkpoint nor anything half-written is left.
    assert [path.name for path in folder.iterdir()] == ["references.npz"]
