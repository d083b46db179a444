"""The commands of docs/photographs.md, on photorealistic people, by a newcomer."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from benchmarks import photo_recognition
from hyperface_jax import load_embeddings
from tests.console_scripts import ROOT, SCRIPTS
from tests.photographs.weights import needs_weights

pytestmark = needs_weights


@pytest.mark.slow
def test_from_photographs_to_references_and_an_audit(tmp_path):
    for path in photo_recognition.pictures(4):
        if "sheet" not in path.stem:
            folder = tmp_path / "photographs" / path.parts[-3]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder)
    text = (ROOT / "docs" / "photographs.md").read_text()
    block = re.search(r"^```bash\nmake photos\n(.*?)^```", text, re.S | re.M)[1]
    lines = [shlex.split(line) for line in block.splitlines()]
    assert [line[0] for line in lines] == [
        f"hyperface-{name}" for name in ("align", "inspect", "embed", "pack", "audit")
    ]
    said = {}
    for name, *arguments in lines:
        # So few people and pairs allow no more, and nothing smaller.
        arguments = [
            argument.replace("=1000", "=20").replace("=0.01", "=0.1")
            for argument in arguments
        ]
        result = subprocess.run(
            [sys.executable, "-m", SCRIPTS[name], *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert result.returncode == 0, result.stderr
        said[name] = result.stdout
    assert "16 crops of 16 pictures (16 aligned)" in said["hyperface-align"]
    assert "16 images of 4 people" in said["hyperface-inspect"]
    gallery = load_embeddings(tmp_path / "gallery.npz")
    assert gallery.metadata["model"]["name"] == "sface"
    references = load_embeddings(tmp_path / "references.npz", kind="references")
    largest = (references.embeddings @ gallery.embeddings.T).max()
    assert "as --enrolled_fmr=0.1 asks" in said["hyperface-pack"]
    assert largest < references.metadata["packing"]["enrolled"]["max_cosine"] + 1e-5
    audit = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert audit["judge"]["name"] == "sface" and audit["separability"]["eer"] < 0.05
    assert audit["counts"]["mislabelled"] == 0
