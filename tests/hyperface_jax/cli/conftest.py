"""A gallery on disk, and commands called in this process."""

import sys

import numpy as np
import pytest

from hyperface_jax import save_embeddings


@pytest.fixture
def gallery(tmp_path, unit_rows):
    """An embedding file of 20 rows of 10 people."""
    path = tmp_path / "gallery.npz"
    save_embeddings(
        path,
        unit_rows,
        kind="gallery",
        labels=np.arange(20) // 2,
        names=[f"image_{i}.jpg" for i in range(20)],
        model={"name": "tiny", "sha256": "0" * 64},
    )
    return path


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
