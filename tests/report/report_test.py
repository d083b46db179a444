"""The report: one page for a run, whichever of its parts exist."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from bridges.datasets.image_dataset import ImageDataset, ImageDatasetWriter
from bridges.evaluation.group_rates import group_rates
from bridges.evaluation.verification_metrics import evaluate_verification
from bridges.report import packing_figures, write_report
from bridges.report.run_folder import read_run_folder
from hyperface_jax import InputError, files, load_embeddings, save_embeddings
from tests.report.page_parser import Page

MODEL = {"name": "recogniser_f", "sha256": "a" * 64}
CONFUSION = ("true_accept", "false_reject", "false_accept", "true_reject")


def write_images(folder, identities, images, seed):
    random = np.random.default_rng(seed)
    with ImageDatasetWriter(folder, settings={"seed": seed}, kind="rendered") as writer:
        for identity in range(identities):
            for index in range(images):
                image = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                record = {"identity": identity, "index": index, "seed": index}
                writer.write(image, record | {"reference_cosine": 0.625})
        writer.finish()
    return folder


def unit_rows(n, d, seed):
    rows = np.random.default_rng(seed).normal(size=(n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def metrics(seed):
    random = np.random.default_rng(seed)
    first = unit_rows(40, 8, seed)
    same = np.arange(40) % 2 == 0
    second = np.where(same[:, None], first + 0.2 * random.normal(size=(40, 8)), -first)
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    figures = evaluate_verification(first, second, same, np.arange(40) // 4)
    benchmarks = {"mixed": figures, "age_gap_30": figures, "ours": figures}
    return {"benchmarks": benchmarks, "mean_accuracy": figures["accuracy"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run folder with every part."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    gallery = ImageDataset(write_images(folder / "gallery", 30, 1, seed=0))
    write_images(folder / "dataset", 10, 2, seed=1)
    names = [record["file_name"] for record in gallery.records]
    gallery_rows, rows = unit_rows(30, 8, 2), unit_rows(10, 8, 3)
    save_embeddings(
        folder / "gallery.npz", gallery_rows, kind="gallery", names=names, model=MODEL
    )
    nearest = packing_figures.nearest_cosines(rows)
    edges = np.linspace(-1, 1, 21)
    histogram = np.histogram(nearest, edges)[0].tolist()
    packing = {
        "max_cosine": float(nearest.max()),
        "objective": 0.25,
        "iterations": 3,
        "initial": {"objective": 0.5},
        "bound": -1 / 9,
        "history": {
            "iteration": [0, 1, 2],
            "objective": [0.5, 0.4, 0.3],
            "max_cosine": [0.9, 0.8, 0.7],
        },
        "nearest_cosine_histogram": {
            "edges": edges.tolist(),
            "before": histogram[::-1],
            "after": histogram,
        },
    }
    save_embeddings(
        folder / "references.npz", rows, kind="references", model=MODEL, packing=packing
    )
    weights = folder / "checkpoint" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    model = {"name": "checkpoint", "sha256": files.sha256_of(weights)}
    (folder / "metrics.json").write_text(json.dumps(metrics(4) | {"model": model}))
    for name in ("rendered", "unpacked"):
        (folder / "compare" / name).mkdir(parents=True)
        path = folder / "compare" / name / "metrics.json"
        path.write_text(json.dumps(metrics(5)))
    training = {
        "seconds": 65.4,
        "history": [{"epoch": 1}, {"epoch": 2}],
        "data": {"fingerprint": ImageDataset(folder / "dataset").fingerprint()},
    }
    (folder / "checkpoint" / "training.json").write_text(json.dumps(training))
    stages = [{"name": "pack", "what": "4 identities", "seconds": 3.2}]
    record = {"settings": {"seed": 7}, "stages": stages, "hardware": {"cores": 2}}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="module")
def report(whole):
    """The page of the whole run."""
    path = write_report(whole)
    content = path.read_text()
    path.unlink()
    return content


@pytest.fixture
def run_folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def test_the_page_is_whole_and_self_contained(report):
    page = Page(report)
    assert page.open == []
    assert page.sections == [
        "chain",
        "packing",
        "generated",
        "gallery",
        "accuracy",
        "settings",
    ]
    outside = [s for s in page.sources if not s.startswith(("data:image/", "#"))]
    assert outside == [], "the page fetches nothing"
    assert not re.search(r"@import|url\((?!#)|<script|<link", report)
    assert report.count("<svg") == 5


def test_the_page_shows_the_figures(whole, report):
    text = Page(report).text
    own = json.loads((whole / "metrics.json").read_text())["benchmarks"]["mixed"]
    assert f"{100 * own['accuracy']:.1f} ± {100 * own['accuracy_std']:.1f}" in text
    assert "10 identities no camera has seen, 20 images" in text
    assert "bound −0.111" in text
    assert "objective J 0.5000 → 0.2500" in text
    assert "2 epochs from scratch in 1 min 05 s" in text
    assert "Packed Rendered faces Unpacked" in text
    assert "Age gap 30" in text and "ours" in text
    assert "cosine 0.62" in text
    assert "seed 7" in text and "cores 2" in text


def test_errors_by_group_are_in_the_table_when_there_are_groups(run_folder, report):
    assert "demographic" not in Page(report).text
    counts = {"across groups": (0, 0, 1, 7), "old <b>": (3, 1, 1, 1)}
    confusions = {
        name: dict(zip(CONFUSION, values, strict=True))
        for name, values in counts.items()
    }
    own = json.loads((run_folder / "metrics.json").read_text())
    own["groups"] = group_rates(confusions)
    (run_folder / "metrics.json").write_text(json.dumps(own))
    text = Page(write_report(run_folder).read_text()).text
    # Accuracy (3 + 1) / 6, false matches 1 / 2, false non-matches 1 / 4.
    assert "Old <b> 6 66.7 % 50.0 % 25.0 % Across groups 8 87.5 % 12.5 % –" in text


def test_the_same_run_gives_the_same_page(whole, report, tmp_path):
    output = tmp_path / "again.html"
    assert write_report(whole, output) == output
    assert output.read_text() == report
    assert not (whole / "report.html").exists()


@pytest.mark.parametrize(
    ("part", "section"),
    [
        ("gallery", "gallery"),
        ("gallery.npz", None),
        ("references.npz", "packing"),
        ("dataset", "generated"),
        ("checkpoint", None),
        ("metrics.json", "accuracy"),
        ("run.json", None),
        ("compare", None),
    ],
)
def test_a_missing_part_is_named_and_the_rest_is_there(run_folder, part, section):
    path = run_folder / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = Page(write_report(run_folder).read_text())
    assert page.open == [] and len(page.sections) == 6
    if section is not None:
        assert f"{part} is not there" in page.text


@pytest.mark.parametrize(
    "change",
    [
        lambda run: (run / "checkpoint" / "model.safetensors").write_bytes(b"other"),
        lambda run: shutil.copytree(run / "gallery", run / "dataset", dirs_exist_ok=1),
    ],
    ids=["another checkpoint", "another dataset"],
)
def test_training_on_the_images_alone_is_claimed_of_no_other_run(
    run_folder, report, change
):
    assert "a recogniser trained on them alone" in Page(report).text
    change(run_folder)
    text = Page(write_report(run_folder).read_text()).text
    assert "alone" not in text
    assert "checkpoint, not known to be trained on the images of this run" in text


@pytest.mark.parametrize("part", ["gallery", "dataset"])
def test_faces_of_unknown_origin_are_not_called_synthetic(run_folder, report, part):
    assert "Every face on this page is synthetic." in Page(report).text
    (run_folder / part / "dataset.json").unlink()
    text = Page(write_report(run_folder).read_text()).text
    assert "synthetic" not in text
    assert ("no camera has seen" in text) == (part == "gallery")


def test_an_unfinished_dataset_is_named(run_folder):
    (run_folder / "dataset" / "metadata.jsonl").unlink()
    assert (
        "the dataset is unfinished" in Page(write_report(run_folder).read_text()).text
    )


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"benchmarks": {}}', '{"benchmarks": {"mixed": {}}}']
)
def test_unfit_metrics_are_named(run_folder, content):
    (run_folder / "metrics.json").write_text(content)
    run = read_run_folder(run_folder)
    assert run.metrics == {} and run.notes["metrics"].startswith("metrics.json")


def test_an_unfit_record_of_the_run_is_named(run_folder):
    (run_folder / "run.json").write_text('{"stages": 3}')
    run = read_run_folder(run_folder)
    assert run.stages is None and run.notes["stages"].startswith("run.json")


def test_a_dataset_alone_makes_a_page(whole, tmp_path):
    shutil.copytree(whole / "dataset", tmp_path / "dataset")
    page = Page(write_report(tmp_path).read_text())
    assert page.text.count("is not there") >= 4


def test_references_of_another_program_make_a_page(run_folder):
    np.savez(run_folder / "references.npz", embeddings=unit_rows(4, 8, 3))
    text = Page(write_report(run_folder).read_text()).text
    assert "carries no packing record" in text


def test_names_are_text_and_never_markup(whole, tmp_path):
    name = "<script>'\"&"
    folder = shutil.copytree(whole, tmp_path / name)
    shutil.rmtree(folder / "dataset")
    (folder / "dataset" / name).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "dataset" / name / f"{name}.png")
    shutil.copytree(folder / "compare" / "rendered", folder / "compare" / name)
    record = {"settings": {name: name}, "stages": [{"name": name, "what": name}]}
    (folder / "run.json").write_text(json.dumps(record))
    content = write_report(folder).read_text()
    page = Page(content)
    assert page.open == [] and "<script" not in content
    for words in (
        f"hyperface_jax · run {name}",
        f"accuracy in % checkpoint {name} Rendered faces",
        f"stage time what {name} – {name} {name} {name}",
        f"by its number. {name}",
    ):
        assert words in page.text, words


def test_a_file_name_in_a_remark_is_text(run_folder):
    path = run_folder / "compare" / "<script>" / "metrics.json"
    path.parent.mkdir()
    path.write_text("{}")
    content = write_report(run_folder).read_text()
    assert "<script" not in content
    assert f"{path.relative_to(run_folder)}: names no benchmarks" in Page(content).text


def test_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        write_report(tmp_path / "none")
    with pytest.raises(InputError, match="nothing of a run"):
        write_report(tmp_path)


def test_the_command_writes_to_the_output(run_folder, tmp_path):
    command = [sys.executable, "-m", "bridges.cli.report", f"--run={run_folder}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{run_folder / 'report.html'}\n"
    output = tmp_path / "elsewhere.html"
    subprocess.run([*command, f"--output={output}"], check=True, capture_output=True)
    assert output.read_bytes() == (run_folder / "report.html").read_bytes()


def test_help_needs_no_template_engine():
    program = "import runpy, sys; sys.modules['jinja2'] = None; "
    program += "runpy.run_module('bridges.cli.report', run_name='__main__')"
    command = [sys.executable, "-c", program, "--help"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "--run" in result.stdout


def test_the_gap_of_a_proven_objective_is_listed(tmp_path):
    rows = np.eye(3, 4, dtype=np.float32)
    for gap, listed in ((4.1e-5, "4.1e-05"), (None, None)):
        packing = {"objective": -0.9, "objective_bound": {"gap": gap}}
        path = tmp_path / "references.npz"
        save_embeddings(path, rows, kind="references", model=MODEL, packing=packing)
        facts = dict(packing_figures.facts_of(load_embeddings(path)))
        assert facts["J above its proven least"] == listed


def test_a_foreign_file_is_not_overwritten(run_folder, tmp_path):
    (tmp_path / "precious.jpg").write_bytes(b"a photograph")
    with pytest.raises(InputError, match=r"precious\.jpg: exists and is not a report"):
        write_report(run_folder, tmp_path / "precious.jpg")
    assert (tmp_path / "precious.jpg").read_bytes() == b"a photograph"
