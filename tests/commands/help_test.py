"""Help and refusals of every command come without loading what does the work."""

import importlib
import json
import subprocess
import sys
import textwrap

import pytest

from bridges.faces import names, verification_sets
from bridges.generation import generation_config, training_config
from bridges.recognition import architectures, augmentation_strengths, config
from tests.console_scripts import ROOT, SCRIPTS

GENERATOR_COMMANDS = ("train_autoencoder", "train_latent_diffusion", "export")
MODULES = [
    *SCRIPTS.values(),
    *(f"bridges.generation.{name}" for name in GENERATOR_COMMANDS),
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


@pytest.mark.parametrize(
    ("place", "name", "light"),
    [
        ("bridges.faces.verification_sets", "NAMES", names.VERIFICATION_SETS),
        ("bridges.faces.world", "STREAMS", names.STREAMS),
        ("bridges.generation", "GenerationConfig", generation_config.GenerationConfig),
        (
            "bridges.generation.image_generation",
            "GenerationConfig",
            generation_config.GenerationConfig,
        ),
        (
            "bridges.generation.generator",
            "check_settings",
            generation_config.check_settings,
        ),
        (
            "bridges.generation.train_autoencoder",
            "AutoencoderTrainingConfig",
            training_config.AutoencoderTrainingConfig,
        ),
        (
            "bridges.generation.train_latent_diffusion",
            "DiffusionTrainingConfig",
            training_config.DiffusionTrainingConfig,
        ),
        ("bridges.recognition.iresnet", "ARCHITECTURES", architectures.ARCHITECTURES),
        (
            "bridges.recognition.augmentation",
            "AUGMENTATIONS",
            augmentation_strengths.AUGMENTATIONS,
        ),
    ],
)
def test_settings_are_where_they_were(place, name, light):
    assert getattr(importlib.import_module(place), name) is light


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("train_autoencoder", "train_autoencoder"),
        ("train_latent_diffusion", "train_latent_diffusion"),
        ("export", "export_generator"),
    ],
)
def test_functions_are_where_they_were(module, name):
    module = importlib.import_module(f"bridges.generation.{module}")
    assert callable(getattr(module, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = module.nothing


def test_names_agree_with_what_they_name():
    from bridges.recognition.margins import HEADS

    assert config.CHOICES["head"] == tuple(HEADS)
    assert names.VERIFICATION_SETS == (*verification_sets._STYLES, "age_gap_30")
    assert set(names.VERIFICATION_SETS) < set(names.STREAMS)
    # The number of a stream is part of every seed.
    numbers = [names.STREAMS.index(n) for n in ("train", "held_out", "gallery")]
    assert numbers == [0, 1, 7]
