"""Tables of metrics files, classification of pairs, and the published counts."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as scores

from bridges.cli import tables as command
from bridges.evaluation.classification import classification, confusions
from bridges.evaluation.figures import write_curves, write_heat_maps
from bridges.evaluation.metrics_files import read_metrics
from bridges.evaluation.tables import accuracy_cells, accuracy_csv, write_markdown
from bridges.evaluation.verification_metrics import evaluate_verification
from hyperface_jax import InputError
from tests.evaluation.verification_metrics_test import random_pairs

# TP, TN, FP, FN of Tables 5 to 7 of Mankame et al., and what they make, by hand.
PRINTED = {
    "ArcFace on BUPT-CBFace": ((9750, 9700, 300, 250), 0.9725, 0.9726, 0.970),
    "ArcFace on DigiFace": ((9800, 9780, 220, 200), 0.9790, 0.9790, 0.978),
    "CosFace on DigiFace": ((9750, 9700, 300, 250), 0.9725, 0.9726, 0.970),
    "SphereFace on DigiFace": ((9670, 9650, 350, 330), 0.9660, 0.9660, 0.965),
}


def counted(tp, tn, fp, fn):
    return {
        "true_accept": tp,
        "true_reject": tn,
        "false_accept": fp,
        "false_reject": fn,
    }


@pytest.mark.parametrize("name", PRINTED)
def test_published_counts_make_other_figures_than_those_printed(name):
    counts, accuracy, f1, specificity = PRINTED[name]
    found = classification(counted(*counts))
    assert found["accuracy"] == pytest.approx(accuracy, abs=1e-9)
    assert found["f1"] == pytest.approx(f1, abs=5e-5)
    assert found["specificity"] == pytest.approx(specificity, abs=1e-9)
    assert found["recall"] == found["sensitivity"] == counts[0] / 10000
    assert found["precision"] == pytest.approx(counts[0] / (counts[0] + counts[2]))


def test_figures_of_counts_are_those_of_the_pairs():
    rng = np.random.default_rng(0)
    same, accepted = rng.random((2, 200)) < np.array([[0.4], [0.6]])
    tn, fp, fn, tp = scores.confusion_matrix(same, accepted).ravel()
    found = classification(counted(tp, tn, fp, fn))
    precision, recall, f1, _ = scores.precision_recall_fscore_support(
        same, accepted, average="binary"
    )
    expected = (scores.accuracy_score(same, accepted), precision, recall, f1)
    names = ("accuracy", "precision", "recall", "f1")
    assert [found[name] for name in names] == pytest.approx(expected)
    assert found["specificity"] == pytest.approx(1 - accepted[~same].mean())


@pytest.mark.parametrize(
    ("counts", "undefined"),
    [
        ((0, 5, 0, 0), {"precision", "recall", "f1", "sensitivity"}),
        ((0, 5, 0, 3), {"precision"}),
        ((4, 0, 0, 1), {"specificity"}),
    ],
)
def test_undefined_figures_are_none(counts, undefined):
    found = classification(counted(*counts))
    assert {name for name, value in found.items() if value is None} == undefined


def test_nothing_counted_is_refused():
    with pytest.raises(InputError, match="no pairs in it"):
        classification(counted(0, 0, 0, 0))


@pytest.fixture
def files(tmp_path):
    """Metrics of two recognisers; the second was measured on one set more."""
    paths = []
    for seed, name in ((0, "arc"), (1, "cos")):
        sets = {}
        for k, benchmark in enumerate(("lfw", "digi", "extra")[: 2 + seed]):
            first, second, same = random_pairs(10 * seed + k)
            sets[benchmark] = evaluate_verification(
                first, second, same, np.arange(200) // 20
            )
        mean = float(np.mean([each["accuracy"] for each in sets.values()]))
        content = {"benchmarks": sets, "mean_accuracy": mean}
        content["mean_accuracy_interval"] = [mean - 0.02, mean + 0.01]
        path = tmp_path / name / "metrics.json"
        path.parent.mkdir()
        path.write_text(json.dumps(content))
        paths.append(path)
    return paths


def rows_of(path):
    return list(csv.reader(path.read_text().splitlines()))


def test_the_command_writes_every_table(files, tmp_path, capsys):
    output, plots = tmp_path / "tables", tmp_path / "plots"
    command.FLAGS(
        [
            "hyperface-tables",
            f"--metrics={files[0]},{files[1]}",
            f"--output={output}",
            f"--plots={plots}",
        ]
    )
    try:
        command.main()
    finally:
        for name in command.FLAGS:
            command.FLAGS[name].unparse()
    metrics = read_metrics(files)
    assert list(metrics) == ["arc", "cos"], "named after their folders"
    head, arc, cos = rows_of(output / "table.csv")
    assert head[:5] == ["checkpoint", "lfw", "digi", "extra", "mean"]
    assert arc[3] == arc[4] == "", "not measured on all sets"
    lfw = metrics["cos"]["benchmarks"]["lfw"]
    assert cos[1] == f"{100 * lfw['accuracy']:.2f}"
    low = cos[head.index("lfw low")]
    assert low == f"{100 * lfw['intervals']['accuracy'][0]:.2f}"
    head, *rows = rows_of(output / "confusion.csv")
    assert head == ["method", "dataset", "TP", "TN", "FP", "FN"] and len(rows) == 5
    assert rows[0][2] == str(
        metrics["arc"]["benchmarks"]["lfw"]["confusion"]["true_accept"]
    )
    head, *rows = rows_of(output / "classification.csv")
    for row in rows:
        counts = metrics[row[0]]["benchmarks"][row[1]]["confusion"]
        values = dict(zip(head[2:], row[2:], strict=True))
        for name, value in classification(counts).items():
            assert values[name] == f"{value:.4f}"
    for name in ("table.md", "classification.md", "confusion.md"):
        lines = (output / name).read_text().splitlines()
        assert {line.count("|") for line in lines[:4]} == {lines[0].count("|")}
    cell = accuracy_cells(metrics)[2][1]
    assert cell in (output / "table.md").read_text()
    assert cell in (output / "table.html").read_text()
    assert cell in capsys.readouterr().out
    assert (output / "heat_maps.png").stat().st_size > 5000
    assert (plots / "roc_extra.png").exists() and (plots / "det_lfw.png").exists()


def test_metrics_of_an_earlier_version_are_tabled_without_intervals(files, tmp_path):
    content = json.loads(files[0].read_text())
    del content["mean_accuracy_interval"]
    for each in content["benchmarks"].values():
        del each["intervals"], each["curve"]
    files[0].write_text(json.dumps(content))
    metrics = read_metrics([files[0]])
    accuracy = content["benchmarks"]["lfw"]["accuracy"]
    assert accuracy_cells(metrics)[1][1] == f"{100 * accuracy:.2f}"
    assert accuracy_csv(metrics)[1][-2:] == ["–", "–"]
    with pytest.raises(InputError, match="have no curve"):
        write_curves(metrics, tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not JSON"),
        ('{"benchmarks": {}}', "holds no metrics"),
        ('{"benchmarks": {"a": {}}, "mean_accuracy": 1}', "its set a lacks accuracy"),
    ],
)
def test_other_files_are_refused(tmp_path, content, reason):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(InputError, match=reason):
        read_metrics([path])
    with pytest.raises(InputError, match="given twice"):
        read_metrics([path, path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.json file in it"):
        read_metrics([tmp_path / "empty"])
    with pytest.raises(InputError, match="no metrics files given"):
        read_metrics([])


def test_heat_maps_of_four_are_two_by_two(tmp_path):
    """Like the paper's Figure 2; a panel is dark where most of its row is."""
    metrics = {
        name.split(" on ")[0]: {
            "benchmarks": {name.split(" on ")[1]: {"confusion": counted(*counts)}}
        }
        for name, (counts, *_) in list(PRINTED.items())[1:]
    }
    found = confusions(metrics)
    assert found["ArcFace on DigiFace"].tolist() == [[9800, 200], [220, 9780]]
    four = {**found, "all wrong": np.array([[0, 9], [9, 0]])}
    write_heat_maps(four, tmp_path / "four.png")
    pixels = np.asarray(Image.open(tmp_path / "four.png").convert("L"), float)
    height, width = (side // 2 for side in pixels.shape)
    right, wrong = pixels[:height, :width], pixels[height:, width:]
    for panel, dark in ((right, True), (wrong, False)):
        down, across = (side // 2 for side in panel.shape)
        diagonal = panel[:down, :across].mean() + panel[down:, across:].mean()
        other = panel[:down, across:].mean() + panel[down:, :across].mean()
        assert bool(diagonal < other) is dark


def test_markdown_escapes_and_aligns(tmp_path):
    write_markdown(tmp_path / "t.md", [["a|b", "n"], ["x", "1.5"]], "note")
    expected = ["| a\\|b | n |", "|---|---:|", "| x | 1.5 |", "", "note"]
    assert (tmp_path / "t.md").read_text().splitlines() == expected


def test_a_recogniser_without_an_error_is_drawn(tmp_path):
    """Nothing of it has a place on logarithmic axes."""
    rows = np.eye(4, dtype=np.float32).repeat(10, 0)
    same = np.arange(40) % 2 == 0
    other = np.where(same[:, None], rows, np.roll(rows, 10, 0))
    result = evaluate_verification(rows, other, same, np.arange(40) // 4)
    assert result["curve"]["fnmr"] == [0.0]
    found = write_curves({"perfect": {"benchmarks": {"a": result}}}, tmp_path / "plots")
    assert [path.name for path in found] == ["curves.csv", "roc_a.png", "det_a.png"]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file, expected a folder"):
        write_curves({"perfect": {"benchmarks": {"a": result}}}, tmp_path / "file")
