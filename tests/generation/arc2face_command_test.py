"""Arc2Face by hyperface-generate, with small random weights in the published layout."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from benchmarks import photo_recognition
from bridges import load_recogniser
from bridges.cli import generate
from bridges.datasets.image_dataset import ImageDataset
from bridges.datasets.images import read_image
from bridges.generation.face_crops import FaceCrops
from bridges.photographs.detector import load_detector
from bridges.photographs.picture_alignment import align_picture
from hyperface_jax import save_embeddings
from tests.generation import arc2face_files, painted_world
from tests.photographs.weights import needs_weights

ROWS = np.random.default_rng(6).normal(size=(3, 512)).astype(np.float32)
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The files, and references in the space of their recogniser."""
    folder = tmp_path_factory.mktemp("arc2face")
    paths = arc2face_files.write(folder)
    arcface = load_recogniser(f"{paths['models']}/arcface.onnx", device="cpu").model
    save_embeddings(folder / "references.npz", ROWS, kind="references", model=arcface)
    asked = {"generator": "arc2face", **paths, "steps": 3, "device": "cpu"}
    return folder, asked | {"references": folder / "references.npz"}


def test_check_names_every_file_and_what_fetches_those_that_are_missing(
    call, world, tmp_path
):
    _, asked = world
    asked = {key: asked[key] for key in ("generator", "models", "base")}
    code, said, errors = call(generate, check=True, **asked)
    assert (code, errors) == (0, "")
    assert said.count("ok ") == 8 and "all its files are there" in said
    code, said, errors = call(generate, check=True, **{**asked, "base": tmp_path})
    assert code == 2 and errors.count("\n") == 1 and "3 of its files" in errors
    missing = [line for line in said.splitlines() if line.startswith("missing")]
    assert len(missing) == 3
    assert all("hf download stable-diffusion-v1-5/" in line for line in missing)


def test_a_dataset_of_random_weights_shows_nobody_and_says_so(call, world, tmp_path):
    _, asked = world
    output = tmp_path / "dataset"
    code, said, errors = call(
        generate, output=output, images_per_identity=2, tries=2, image_size=48, **asked
    )
    assert code == 0, errors
    assert "flagged in the records: 6 no_face" in said
    dataset = ImageDataset(output)
    assert dataset.load().shape == (6, 48, 48, 3)
    assert [(r["tries"], r["flag"]) for r in dataset.records] == [(2, "no_face")] * 6
    description = json.loads((output / "dataset.json").read_text())
    assert description["models"]["recogniser"]["name"] == "arcface"
    assert "CreativeML OpenRAIL-M" in description["licence"]
    assert description["settings"]["steps"] == 3
    # Where the files are is no part of it.
    assert "models" not in description["settings"]


def test_where_a_face_is_found_it_is_aligned(call, world, tmp_path, painted):
    """By a detector that takes every picture for one."""
    _, asked = world
    output = tmp_path / "dataset"
    code, said, errors = call(
        generate,
        output=output,
        images_per_identity=2,
        min_cosine=-1,
        detector="board",
        **asked,
    )
    assert code == 0, errors
    assert "flagged" not in said
    assert {r["flag"] for r in ImageDataset(output).records} == {""}
    cosines = [r["reference_cosine"] for r in ImageDataset(output).records]
    shown = load_recogniser(f"{asked['models']}/arcface.onnx", device="cpu")
    rows = shown.embed(ImageDataset(output).load())
    assert cosines == pytest.approx(np.sum(rows * ROWS.repeat(2, 0), 1), abs=2e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ""}, "run hf download FoivosPar/Arc2Face"),
        ({"generator": "embedded"}, "--models is a setting of arc2face, which"),
        ({"recogniser": "recogniser_f"}, "is not the one whose embeddings"),
        ({"lcm": True, "steps": 4, "guidance": 1}, "lcm takes a LoRA"),
        ({"images_per_identity": 0}, "images_per_identity"),
        ({"beta": -0.1}, "beta"),
        ({"shard": "3/2"}, "expected i/n, such as 1/4"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_does_not_fit_is_refused_in_one_line(
    call, world, tmp_path, changes, message
):
    _, asked = world
    code, _, errors = call(generate, output=tmp_path / "dataset", **(asked | changes))
    assert code == 2 and errors.count("\n") == 1 and message in errors
    assert not (tmp_path / "dataset").exists()


def test_references_of_another_recogniser_are_offered_a_map(call, world, tmp_path):
    _, asked = world
    path = painted_world.save_references(
        tmp_path / "references.npz", painted_world.unit_rows(3)
    )
    code, _, errors = call(
        generate, output=tmp_path / "dataset", **(asked | {"references": path})
    )
    assert code == 2 and errors.count("\n") == 1
    assert "references of painted" in errors and "hyperface-map" in errors


@needs_weights
def test_the_project_s_detector_aligns_photographs_and_finds_none_in_noise():
    path = next(
        path
        for path in photo_recognition.pictures()
        if pathlib.Path(path).stem == "studio_portrait"
    )
    picture = Image.fromarray(read_image(path)).resize((512, 512))
    crops = FaceCrops("mtcnn", 112, device="cpu")
    crop, found = crops.crop(np.asarray(picture))
    detector = load_detector("mtcnn", device="cpu")
    (expected,), _ = align_picture(np.asarray(picture), detector, image_size=112)
    assert found and np.array_equal(crop, expected.crop)
    turned, found = crops.crop(np.rot90(np.asarray(picture)).copy())
    assert not found and turned.shape == (112, 112, 3)
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    assert crops.crop(noise)[1] is False
