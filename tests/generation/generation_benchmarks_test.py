"""The generation benchmark's figures in closed form, and that it still runs."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import generation_quality
from bridges.datasets.image_dataset import ImageDatasetWriter
from hyperface_jax.errors import InputError
from tests.generation import tiny_models


def run(*arguments: str) -> None:
    """Runs the benchmark in this process and puts its flags back."""
    generation_quality.FLAGS(["benchmark", *arguments])
    try:
        generation_quality.main()
    finally:
        for name in generation_quality.FLAGS:
            generation_quality.FLAGS[name].unparse()


def test_figures_of_perfect_and_of_useless_images():
    references = np.eye(4)
    perfect = generation_quality.measure(np.repeat(references, 3, axis=0), references)
    assert perfect == {
        "rank1": 1.0,
        "own_cosine": 1.0,
        "impostor_cosine": 0.0,
        "intra_cosine": 1.0,
        "eer": 0.0,
    }
    swapped = generation_quality.measure(
        np.repeat(references[[1, 0, 3, 2]], 3, axis=0), references
    )
    assert swapped["rank1"] == 0
    assert swapped["own_cosine"] == 0
    assert swapped["impostor_cosine"] == pytest.approx(1 / 3)


@pytest.fixture
def world(tmp_path):
    model = tiny_models.save_tiny_recogniser(tmp_path / "recogniser")
    tiny_models.save_tiny_generator(tmp_path / "generator", model)
    tiny_models.save_references(tmp_path / "references.npz", model)
    rng = np.random.default_rng(0)
    with ImageDatasetWriter(tmp_path / "held", settings={}, kind="rendered") as writer:
        for row in range(6):
            record = {"identity": row // 2, "index": row % 2, "seed": 0}
            writer.write(rng.integers(0, 256, (16, 16, 3), np.uint8), record)
        writer.finish()
    return tmp_path


def arguments(world, *more: str) -> list[str]:
    return [
        f"--held_out={world / 'held'}",
        f"--generator={world / 'generator'}",
        f"--recogniser={world / 'recogniser'}",
        f"--output={world / 'quality'}",
        "--images=2",
        "--steps=2",
        "--num_processes=1",
        *more,
    ]


def test_it_runs(world, capsys):
    references = f"--references={world / 'references.npz'}"
    run(*arguments(world, "--identities=3", "--guidance=1,2", references))
    record = json.loads((world / "quality" / "quality.json").read_text())
    assert [row["guidance"] for row in record["generated"]] == [1, 2]
    assert record["matched_guidance"] in (1, 2)
    assert record["packed"]["references"] == 3
    assert record["autoencoder"]["psnr"] > 0
    assert Image.open(world / "quality" / "sheet.png").size == (2 * 3 * 16, 2 * 3 * 16)
    assert "rendered" in capsys.readouterr().out


def test_too_few_identities_are_refused(world):
    with pytest.raises(InputError, match="identity 3"):
        run(*arguments(world, "--identities=9"))
    with pytest.raises(InputError, match="2 identities from 2 on"):
        run(*arguments(world, "--identities=2", "--first_identity=2"))
