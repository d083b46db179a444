"""The whole chain, tiny, with the models that ship."""

import contextlib
import hashlib
import io
import json
import pathlib
import signal
import subprocess
import sys
from typing import NamedTuple

import pytest

from bridges.cli import demo
from hyperface_jax import load_embeddings

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHIPPED = ROOT / "bridges" / "pretrained" / "latent_diffusion" / "model.safetensors"
pytestmark = pytest.mark.skipif(
    not SHIPPED.exists(), reason="this checkout comes without weights"
)


class Result(NamedTuple):
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


# None is a default, so that a flag that were ignored would show.
SETTINGS = {
    "gallery_identities": 20,
    "gallery_images": 2,
    "num_identities": 6,
    "images_per_identity": 4,
    "num_pairs": 40,
    "image_size": 48,
    "packing_iterations": 20,
    "guidance": 1.5,
    "steps": 2,
    "epochs": 2.0,
    "batch_size": 8,
    "seed": 3,
}
SETS = {"mixed", "cross_age", "cross_pose", "frontal_profile", "age_gap_30"}
# What must be equal after an interruption.
RESULTS = (
    "gallery.npz",
    "references.npz",
    "dataset/images/000005/000005_003.jpg",
    "checkpoint/model.safetensors",
)


def flags_of(folder, *more):
    flags = [f"--{name}={value}" for name, value in SETTINGS.items()]
    return [f"--output={folder}", *flags, *more]


def run(folder, *more):
    """Runs the command in this process; its exit code, output and errors."""
    output, errors = io.StringIO(), io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        pytest.raises(SystemExit) as exit,
    ):
        patch.setattr(sys, "argv", ["hyperface-demo", *flags_of(folder, *more)])
        for name in demo.FLAGS:
            demo.FLAGS[name].unparse()
        demo.run()
    signal.signal(signal.SIGTERM, handler)
    return Result(exit.value.code, output.getvalue(), errors.getvalue())


def read(path):
    return json.loads(path.read_text())


def content_of(folder):
    """Checksums of the results; of embedding files without the time they carry."""
    found = {}
    for name in RESULTS:
        path = folder / name
        if path.suffix == ".npz":
            content = load_embeddings(path).embeddings.tobytes()
        else:
            content = path.read_bytes()
        found[name] = hashlib.sha256(content).hexdigest()
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "demo"
    return folder, run(folder)


def test_the_chain_ends_with_a_report_and_the_figures(finished):
    folder, result = finished
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    stages = [line for line in lines if line.startswith("stage ")]
    assert [line.split()[1] for line in stages] == [f"{k}/7" for k in range(1, 8)]
    assert lines[-1].startswith(f"{folder / 'report.html'}: 6 identities")
    metrics = read(folder / "metrics.json")
    assert f"packed {100 * metrics['mean_accuracy']:.1f} %" in lines[-1]
    assert set(metrics["benchmarks"]) == SETS
    page = (folder / "report.html").read_text()
    assert "6 identities no camera has seen, 24 images" in page
    assert "a recogniser trained on them alone" in page
    licence = read(folder / "dataset" / "dataset.json")["licence"]
    assert "trained on rendered parametric heads alone" in licence


def test_every_flag_reaches_its_stage(finished):
    folder, _ = finished
    assert read(folder / "run.json")["settings"].items() >= SETTINGS.items()
    gallery = read(folder / "gallery" / "dataset.json")
    assert gallery["counts"] == {"identities": 20, "images": 40}
    assert gallery["settings"]["image_size"] == 48
    assert gallery["settings"]["seed"] == 3
    dataset = read(folder / "dataset" / "dataset.json")
    assert dataset["counts"] == {"identities": 6, "images": 24}
    assert dataset["settings"].items() >= {"guidance": 1.5, "steps": 2}.items()
    packing = load_embeddings(folder / "references.npz").metadata["packing"]
    assert packing["iterations"] == 20 and packing["seed"] == 3
    training = read(folder / "checkpoint" / "training.json")["settings"]
    assert training.items() >= {"epochs": 2.0, "batch_size": 8, "seed": 3}.items()
    for figures in read(folder / "metrics.json")["benchmarks"].values():
        assert figures["num_pairs"] == 40


def test_other_settings_are_refused(finished):
    folder, _ = finished
    result = run(folder, "--num_identities=7")
    assert result.returncode == 2
    assert "num_identities = 6, asked for 7" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def stop_at(stage, number, folder):
    """Starts a run, sends it a signal when the stage begins; its code and errors."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bridges.cli.demo", *flags_of(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    for line in process.stdout:
        if line.startswith(f"stage {stage}/7"):
            break
    process.send_signal(number)
    _, errors = process.communicate()
    return process.returncode, errors


def test_a_stopped_run_goes_on_to_the_same_result(finished, tmp_path):
    folder = tmp_path / "demo"
    code, errors = stop_at(3, signal.SIGINT, folder)
    assert code == 130 and "the same command continues" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    code, _ = stop_at(4, signal.SIGKILL, folder)
    assert code == -signal.SIGKILL
    result = run(folder)
    assert result.returncode == 0, result.stderr
    assert "stage 3/7 pack: 6 identities, far apart, done before" in result.stdout
    assert content_of(folder) == content_of(finished[0])


def test_comparisons_can_be_added_to_a_finished_run(finished):
    folder, _ = finished
    before = content_of(folder)
    killed = folder / "compare" / "unpacked" / ".references-0a_9bcde.partial.npz"
    killed.parent.mkdir(parents=True)
    killed.touch()
    result = run(folder, "--compare")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("done before") == 7
    assert content_of(folder) == before
    assert not killed.exists()
    for name in ("rendered", "unpacked"):
        inner = folder / "compare" / name
        assert read(inner / "dataset" / "dataset.json")["counts"]["images"] == 24
        assert set(read(inner / "metrics.json")["benchmarks"]) == SETS
        assert f"{name} " in result.stdout.splitlines()[-1]
    unpacked = load_embeddings(folder / "compare" / "unpacked" / "references.npz")
    gallery = load_embeddings(folder / "gallery.npz")
    cosines = unpacked.embeddings @ gallery.embeddings.T
    assert (cosines.max(axis=1) > 0.9999).all(), "they are gallery faces, not moved"
