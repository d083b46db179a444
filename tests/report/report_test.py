"""The report: all of a run on one page, whatever of the run is there."""

import html.parser
import io
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
from bridges.report.accuracy import accuracy_section
from bridges.report.contact_sheet import contact_sheet, encode_png, spread
from bridges.report.elements import count, duration
from bridges.report.plots import plot_convergence
from bridges.report.run_folder import read_run_folder
from hyperface_jax import InputError, files, load_embeddings, save_embeddings

MODEL = {"name": "recogniser_f", "sha256": "a" * 64}
CONFUSION = ("true_accept", "false_reject", "false_accept", "true_reject")
VOID = {"meta", "img", "path", "use", "rect", "br"}


class Page(html.parser.HTMLParser):
    """Collects text, pictures and references; notices tags that do not match."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open, self.sources, self.words, self.sections = [], [], [], []
        self.feed(content)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.sources += [attributes[k] for k in ("src", "href") if k in attributes]
        if tag == "section":
            self.sections.append(attributes["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.sources += [value for key, value in attributes if key in ("src", "href")]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


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


def test_errors_by_group_are_in_the_table_when_there_are_groups():
    own = {
        "benchmarks": metrics(4)["benchmarks"],
        "groups": group_rates(
            {
                name: dict(zip(CONFUSION, counts, strict=True))
                for name, counts in {
                    "across groups": (0, 0, 1, 7),
                    "old <b>": (3, 1, 1, 1),
                }.items()
            }
        ),
    }
    page = Page(accuracy_section({"packed": own}, trained_here=True))
    # Accuracy (3 + 1) / 6, false matches 1 / 2, false non-matches 1 / 4.
    assert "Old <b> 6 66.7 % 50.0 % 25.0 % Across groups 8 87.5 % 12.5 % –" in page.text
    page = Page(accuracy_section({"packed": metrics(4)}, trained_here=True))
    assert "demographic" not in page.text


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
    assert outside == [], "nothing is fetched"
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
def test_training_on_the_images_alone_is_told_of_no_other_run(
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
    folder = shutil.copytree(whole, tmp_path / "<b>run & co")
    content = write_report(folder).read_text()
    assert "<b>run" not in content and "&lt;b&gt;run &amp; co" in content


def test_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        write_report(tmp_path / "none")
    with pytest.raises(InputError, match="nothing of a run"):
        write_report(tmp_path)


def test_nearest_cosines_equal_brute_force():
    rows = unit_rows(1500, 5, 0).astype(np.float32)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -2)
    np.testing.assert_allclose(
        packing_figures.nearest_cosines(rows), cosines.max(axis=1), atol=1e-6
    )


def test_a_contact_sheet_puts_every_face_in_its_place():
    colours = np.arange(5, dtype=np.uint8) * 40
    faces = [np.full((8, 8, 3), colour, np.uint8) for colour in colours]
    sheet = contact_sheet([faces[:3], faces[3:]], size=8, gap=2)
    assert sheet.shape == (22, 32, 3)
    np.testing.assert_array_equal(sheet[2:10, 12:20], faces[1])
    np.testing.assert_array_equal(sheet[12:20, 2:10], faces[3])
    assert (sheet[12:20, 22:30] == 255).all(), "a shorter row ends in white"
    decoded = np.asarray(Image.open(io.BytesIO(encode_png(sheet))))
    np.testing.assert_array_equal(decoded, sheet)


def test_plots_take_every_colour_from_the_page():
    svg = plot_convergence(np.arange(3), np.arange(3.0), label="a & b")
    assert not re.search(r"#[0-9a-f]{6}", svg.replace("#000000", "")), svg
    assert 'aria-label="a &amp; b"' in svg


@pytest.mark.parametrize(
    ("total", "expected"), [(1, [0]), (3, [0, 1, 2]), (9, [0, 4, 8])]
)
def test_spread(total, expected):
    assert spread(3, total) == expected


def test_wording():
    assert [count(1, "face"), count(2000, "identity")] == ["1 face", "2,000 identities"]
    assert [duration(s) for s in (None, 59.4, 59.6, 3600)] == [
        "–",
        "59 s",
        "1 min 00 s",
        "60 min 00 s",
    ]


def test_the_command_writes_where_it_is_told(run_folder, tmp_path):
    command = [sys.executable, "-m", "bridges.cli.report", f"--run={run_folder}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{run_folder / 'report.html'}\n"
    output = tmp_path / "elsewhere.html"
    subprocess.run([*command, f"--output={output}"], check=True, capture_output=True)
    assert output.read_bytes() == (run_folder / "report.html").read_bytes()


def test_a_proven_objective_is_told(tmp_path):
    rows = np.eye(3, 4, dtype=np.float32)
    for gap, told in ((4.1e-5, "4.1e-05"), (None, None)):
        packing = {"objective": -0.9, "objective_bound": {"gap": gap}}
        path = tmp_path / "references.npz"
        save_embeddings(path, rows, kind="references", model=MODEL, packing=packing)
        facts = dict(packing_figures.facts_of(load_embeddings(path)))
        assert facts["J above its proven least"] == told


def test_a_foreign_file_is_not_written_over(run_folder, tmp_path):
    (tmp_path / "precious.jpg").write_bytes(b"a photograph")
    with pytest.raises(InputError, match=r"precious\.jpg: exists and is no report"):
        write_report(run_folder, tmp_path / "precious.jpg")
    assert (tmp_path / "precious.jpg").read_bytes() == b"a photograph"
