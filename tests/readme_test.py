"""What README.md, WORKSPACE.md and the pages in docs/ say can be done as written."""

import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import pytest
from PIL import Image

from hyperface_jax.files import sha256_of
from tests.console_scripts import SCRIPTS

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = (
    *("README.md", "WORKSPACE.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    "benchmarks/README.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)
PRETRAINED = ROOT / "bridges" / "pretrained"
RESULTS = ROOT / "benchmarks" / "results"


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a language, top to bottom."""
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(document: str) -> list[tuple[str, list[str]]]:
    """Every ``hyperface-…`` line with the names of the flags it gives."""
    found = []
    for block in blocks(document, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            match = re.match(r"\s*(?:\.venv/bin/)?(hyperface-\w+)\b(.*)", line)
            if match:
                found.append((match[1], re.findall(r"--(\w+)", match[2])))
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_and_their_flags_exist(document):
    for name, flags in commands(document):
        known = importlib.import_module(SCRIPTS[name]).FLAGS
        assert not [flag for flag in flags if flag not in known], name


def test_the_walk_uses_every_command_of_the_chain():
    used = {name for name, _ in commands("README.md")}
    beside = {"demo", "search", "capacity"}
    # Of docs/verification.md.
    beside |= {"identify", "tables"}
    # Of docs/photographs.md.
    beside |= {"align", "map", "convert", "inspect", "audit"}
    # Of docs/onnx.md.
    beside |= {"export"}
    assert used >= set(SCRIPTS) - {f"hyperface-{name}" for name in beside}


def test_modules_that_documents_run_exist():
    for document in DOCUMENTS:
        text = (ROOT / document).read_text()
        for name in re.findall(r"python -m ([\w.]+\w)", text):
            if not name.endswith("NAME"):
                assert importlib.util.find_spec(name), f"{document}: {name}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (ROOT / document).parent.joinpath(target).exists(), target


def test_the_example_runs_as_written(tmp_path):
    if not (PRETRAINED / "latent_diffusion" / "model.safetensors").exists():
        pytest.skip("this checkout comes without weights")
    (example,) = blocks("README.md", "python")
    assert len(example.splitlines()) <= 15
    result = subprocess.run(
        [sys.executable, "-c", example],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path)},
    )
    assert result.returncode == 0, result.stderr
    largest, bound = map(float, re.findall(r"-?\d\.\d+", result.stdout))
    assert bound <= largest < 1
    assert Image.open(tmp_path / "identities.png").size == (8 * 64, 64)


def test_cards_workspace_and_records_are_of_the_weights_that_ship():
    workspace = (ROOT / "WORKSPACE.md").read_text()
    for weights in PRETRAINED.glob("*/model.safetensors"):
        digest = sha256_of(weights)
        assert (
            digest in workspace and digest in (weights.parent / "README.md").read_text()
        )
    for benchmark in ("generation_quality", "generation_quality_others"):
        newest = max(RESULTS.glob(f"{benchmark}_cpu2_*.json"))
        models = json.loads(newest.read_text())["models"]
        for role, name in (
            ("generator", "latent_diffusion"),
            ("recogniser", "recogniser_f"),
        ):
            expected = sha256_of(PRETRAINED / name / "model.safetensors")
            assert models[role]["sha256"] == expected
