"""Commands have OpenMP's idle threads sleep, as OpenMP itself reports."""

import os
import subprocess
import sys

import pytest

from tests.console_scripts import ROOT


def wait_policy(program: str) -> str:
    """What the OpenMP that ``program`` loads says of its waiting threads."""
    inherited = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**inherited, "OMP_DISPLAY_ENV": "true"},
    )
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stderr.splitlines() if "OMP_WAIT_POLICY" in line]
    if not lines:
        pytest.skip("this torch's OpenMP does not display its settings")
    return lines[0].split("=")[1].strip(" '")


def test_idle_threads_sleep_in_commands():
    assert wait_policy("import bridges.cli, torch") == "PASSIVE"


def test_what_the_user_says_holds(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    program = "import os, bridges.cli; print(os.environ['OMP_WAIT_POLICY'])"
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, text=True, cwd=ROOT) == "ACTIVE\n"
