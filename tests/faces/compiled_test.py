"""Numba settings that prevent rendering are refused by name."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("variable", "value"), [("NUMBA_DISABLE_JIT", "1"), ("NUMBA_NUM_THREADS", "0")]
)
def test_an_unusable_setting_is_named(variable, value, tmp_path):
    command = ["-m", "bridges.cli.render", f"--output={tmp_path / 'faces'}"]
    result = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, variable: value},
    )
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1 and variable in result.stderr
    assert "nset" in result.stderr and not (tmp_path / "faces").exists()
