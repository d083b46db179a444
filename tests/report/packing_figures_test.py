"""Plots of a packing: complete, and without comparisons across recognisers."""

import numpy as np
import pytest

from bridges.report import packing_figures, plots
from bridges.report.run_folder import nearest_gallery_image, read_run_folder
from hyperface_jax import save_embeddings

MODEL = {"name": "recogniser_f", "sha256": "a" * 64}
OTHER = {"name": "other", "sha256": "b" * 64}
NAMES = [f"{i}.jpg" for i in range(20)]


def unit_rows(n, d, seed):
    rows = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write_gallery(folder, rows, model=MODEL):
    path = folder / "gallery.npz"
    save_embeddings(path, rows, kind="gallery", names=NAMES, model=model)


@pytest.fixture
def folder(tmp_path):
    """A run whose references equal its gallery, with image files."""
    rows, packing = unit_rows(20, 8, 0), {"iterations": 1}
    write_gallery(tmp_path, rows)
    path = tmp_path / "references.npz"
    save_embeddings(path, rows, kind="references", model=MODEL, packing=packing)
    (tmp_path / "gallery").mkdir()
    for name in NAMES:
        (tmp_path / "gallery" / name).touch()
    return tmp_path


def test_nearest_cosines_to_others_equal_brute_force():
    rows, others = unit_rows(1500, 5, 0), unit_rows(7, 5, 1)
    found = packing_figures.nearest_cosines(rows, others)
    np.testing.assert_allclose(found, (rows @ others.T).max(axis=1), atol=1e-6)


def test_cosines_rounded_beyond_1_are_counted(folder, monkeypatch):
    write_gallery(folder, unit_rows(20, 8, 0) * np.float32(1 + 1e-6))
    drawn = []

    def draw(histogram, **_):
        drawn.append(histogram)

    monkeypatch.setattr(plots, "plot_histogram", draw)
    packing_figures.plots_of(read_run_folder(folder))
    assert drawn[-1].counts["packed"].sum() == 20


def test_a_gallery_of_another_recogniser_is_not_compared(folder):
    run = read_run_folder(folder)
    assert nearest_gallery_image(run, 3) == folder / "gallery" / "3.jpg"
    assert len(packing_figures.plots_of(run)) == 2
    write_gallery(folder, unit_rows(20, 8, 0), OTHER)
    run = read_run_folder(folder)
    assert nearest_gallery_image(run, 3) is None
    assert len(packing_figures.plots_of(run)) == 1


def test_a_fourth_recogniser_is_in_the_plot():
    accuracies = {name: [(0.9, 0.01)] for name in ("packed", "x", "y", "z")}
    svg = plots.plot_accuracies(["mixed"], accuracies)
    assert all(f">{name}<" in svg for name in accuracies)


def test_a_comparison_named_like_the_run_is_refused(folder):
    for path in (folder, folder / "compare" / "packed"):
        path.mkdir(parents=True, exist_ok=True)
        (path / "metrics.json").write_text('{"benchmarks": {"a": {"accuracy": 1}}}')
    assert "rename it" in read_run_folder(folder).notes["metrics"]


def test_nearest_cosines_equal_brute_force():
    rows = unit_rows(1500, 5, 0).astype(np.float32)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -2)
    np.testing.assert_allclose(
        packing_figures.nearest_cosines(rows), cosines.max(axis=1), atol=1e-6
    )
