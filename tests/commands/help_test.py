"""Help and refusals of every command come without loading what does the work."""

import json
import subprocess
import sys
import textwrap

import pytest

from bridges.faces import names, verification_sets
from tests.console_scripts import ROOT, SCRIPTS

GENERATOR_COMMANDS = ("train_autoencoder", "train_latent_diffusion", "export")
MODULES = [
    *SCRIPTS.values(),
    *(f"bridges.generators.latent_diffusion.{name}" for name in GENERATOR_COMMANDS),
]
COMMAND_LINES = (["--help"], ["--no_such_flag=1"], [])
# One process for all: the heavy packages can't be found in it, and an attempt is
# an error whatever the command makes of it.
PROGRAM = textwrap.dedent(
    """
    import contextlib, io, json, runpy, sys

    HEAVY = {"torch", "jax", "jaxlib", "numba", "matplotlib", "diffusers",
             "transformers", "scipy", "optax"}
    asked = []

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in HEAVY:
                asked.append(name)
                raise ImportError(f"{name} is asked for")

    sys.meta_path.insert(0, Finder())
    modules, command_lines = json.loads(sys.stdin.read())
    found = []
    for module in modules:
        for arguments in command_lines:
            sys.argv = [module, *arguments]
            out, err = io.StringIO(), io.StringIO()
            code = None
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    runpy.run_module(module, run_name="__main__")
                except SystemExit as stopped:
                    code = stopped.code
                except ImportError as error:
                    code = str(error)
            found.append([module, arguments, code, out.getvalue(), err.getvalue()])
    print(json.dumps([asked, found]))
    """
)


@pytest.fixture(scope="module")
def answers():
    """What each command said: module and arguments to code, output and errors."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps([MODULES, COMMAND_LINES]),
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
    asked, found = json.loads(result.stdout)
    assert asked == []
    return {(module, *arguments): rest for module, arguments, *rest in found}


@pytest.mark.parametrize("module", MODULES)
def test_help_loads_nothing_heavy(answers, module):
    code, output, errors = answers[module, "--help"]
    assert (code, errors) == (0, "")
    assert "\nFlags:\n" in output and "\n  --output" in output


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("arguments", COMMAND_LINES[1:], ids=["unknown", "missing"])
def test_a_refused_flag_loads_nothing_heavy(answers, module, arguments):
    code, output, errors = answers[(module, *arguments)]
    assert (code, output, errors.count("\n")) == (2, "", 1)


def test_names_agree_with_what_they_name():
    assert names.VERIFICATION_SETS == (*verification_sets._STYLES, "age_gap_30")
    assert set(names.VERIFICATION_SETS) < set(names.STREAMS)
    # The number of a stream is part of every seed.
    numbers = [names.STREAMS.index(n) for n in ("train", "held_out", "gallery")]
    assert numbers == [0, 1, 7]
