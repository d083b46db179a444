"""A command in a process of its own ends with its parent, and saves before that."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from hyperface_jax import save_embeddings
from tests.child_processes import started
from tests.hyperface_jax import packing_oracles

CHILD = [sys.executable, "-m", "bridges.demo.child_command"]


def start(root, *command, **environment):
    return started(
        [*CHILD, *command],
        stdin=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
    )


@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        # Compiled code, which does not return for a signal.
        "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)",
    ],
    ids=["interpreter", "compiled"],
)
def test_it_ends_without_a_word_when_its_parent_is_gone(root, tmp_path, body):
    (tmp_path / "busy.py").write_text(f"print('busy', flush=True)\n{body}\n")
    with start(root, "busy", PYTHONPATH=f"{root}{os.pathsep}{tmp_path}") as process:
        assert process.stdout.readline() == "busy\n"
        time.sleep(0.2)
        # As the system does with the pipes of a process that is gone.
        printed, errors = process.communicate(timeout=60)
    assert (printed, errors) == ("", "")
    assert process.returncode != 0


def test_its_exit_code_and_words_are_those_of_the_command(root):
    with start(root, "hyperface_jax.cli.pack", "--num_identities=many") as process:
        errors = process.stderr.read()
        process.wait(60)
    assert (process.returncode, errors.count("\n")) == (2, 1)
    assert "num_identities=many" in errors


def iterations_in(checkpoint) -> int:
    with np.load(checkpoint) as content:
        return len(content["history"])


def test_a_packing_saves_before_it_ends(root, tmp_path):
    gallery = tmp_path / "gallery.npz"
    save_embeddings(gallery, packing_oracles.clustered_rows(24, 8), kind="gallery")
    checkpoint = tmp_path / ".references.checkpoint.npz"
    with start(
        root,
        "hyperface_jax.cli.pack",
        f"--gallery={gallery}",
        f"--output={tmp_path / 'references.npz'}",
        "--method=algorithm1",
        "--num_iterations=100000000",
        "--checkpoint_seconds=3",
    ) as process:
        end = time.monotonic() + 120
        while not checkpoint.exists() and time.monotonic() < end:
            time.sleep(0.01)
        by_time = iterations_in(checkpoint)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert iterations_in(checkpoint) > by_time
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [checkpoint.name, gallery.name]
