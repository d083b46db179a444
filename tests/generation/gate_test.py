"""The gate: what is drawn again, how often, what is kept and what is flagged."""

import json

import numpy as np
import pytest

from bridges.datasets.image_dataset import ImageDataset
from bridges.generation.face_crops import FaceCrops
from bridges.generation.identity_variation import image_seed, vary_identity
from bridges.generation.image_workers import through_jpeg
from hyperface_jax import load_embeddings
from tests.generation import painted_world
from tests.generation.painted_generator import (
    PaintedGenerator,
    PaintedRecogniser,
    PaintedSettings,
    UnalignedGenerator,
)
from tests.generation.painted_world import content_of, generate

pytestmark = pytest.mark.usefixtures("painted")
# Noise that hides who is on an image now and then.
NOISE = 60.0
TRIES = 3
IMAGES = 6


@pytest.fixture(scope="module")
def world(tmp_path_factory, painted):
    folder = tmp_path_factory.mktemp("world")
    rows = painted_world.unit_rows(12)
    painted_world.save_references(folder / "references.npz", rows)
    return folder


def attempts(world, identity, index, generator) -> tuple[list, list]:
    """Every attempt at an image, by hand: cosines and the JPEG files."""
    reference = load_embeddings(world / "references.npz").embeddings[identity]
    condition = vary_identity(
        reference, beta=0.01, dataset_seed=0, identity=identity, index=index
    )
    cosines, contents = [], []
    for attempt in range(TRIES):
        seed = image_seed(0, identity, index, attempt)
        image = generator.generate(condition[None], [seed], PaintedSettings(NOISE))[0]
        content, shown = through_jpeg(image)
        row = PaintedRecogniser().embed(shown[None].astype(np.uint8))[0]
        # A picture without a face is kept only where nothing else is.
        empty = not generator.aligned and not image.any()
        cosines.append(-2 if empty else float(row @ reference))
        contents.append(content)
    return cosines, contents


def test_each_image_is_its_first_good_attempt_or_its_best(world, tmp_path):
    limit = 0.45
    changes = {"min_cosine": limit, "tries": TRIES, "noise": NOISE}
    made = generate(world, tmp_path / "a", images_per_identity=IMAGES, **changes)
    dataset = ImageDataset(tmp_path / "a")
    flags, tries = 0, []
    for row, record in enumerate(dataset.records):
        where = record["identity"], record["index"]
        cosines, contents = attempts(world, *where, PaintedGenerator("", None, 0))
        good = [attempt for attempt, c in enumerate(cosines) if c >= limit]
        kept = good[0] if good else int(np.argmax(cosines))
        assert dataset.read(row) == contents[kept]
        assert record["seed"] == image_seed(0, *where, kept)
        assert record["reference_cosine"] == pytest.approx(cosines[kept], abs=1e-4)
        assert record["tries"] == (good[0] + 1 if good else TRIES)
        assert record["flag"] == ("" if good else "low_cosine")
        flags += not good
        tries.append(record["tries"])
    assert set(tries) == {1, 2, 3} and 0 < flags < len(dataset) / 2
    assert made.report == {"tries": sum(tries), "flagged": {"low_cosine": flags}}
    description = json.loads((tmp_path / "a" / "dataset.json").read_text())
    assert description["report"] == made.report


def test_tries_do_not_depend_on_who_makes_them(world, tmp_path):
    changes = {"min_cosine": 0.45, "tries": 3, "noise": NOISE}
    generate(world, tmp_path / "a", **changes)
    generate(world, tmp_path / "b", num_processes=2, **changes)
    for number in (1, 2):
        generate(world, tmp_path / "c", f"{number}/2", **changes)
    content = content_of(tmp_path / "a")
    assert content_of(tmp_path / "b") == content_of(tmp_path / "c") == content


def test_no_image_is_waited_for_without_end(world, tmp_path):
    made = generate(world, tmp_path / "a", min_cosine=1, tries=2, noise=NOISE)
    assert made.report == {"tries": 2 * 84, "flagged": {"low_cosine": 84}}


def test_without_a_gate_each_image_is_drawn_once(world, tmp_path):
    made = generate(world, tmp_path / "a", min_cosine=-1, noise=NOISE)
    assert made.report == {"tries": 84, "flagged": {}}


def test_pictures_without_a_face_are_drawn_again_and_flagged_at_last(world, tmp_path):
    changes = {"generator": "unaligned", "detector": "board", "tries": 2}
    changes |= {"noise": NOISE, "images_per_identity": IMAGES}
    generate(world, tmp_path / "a", image_size=32, **changes)
    generate(world, tmp_path / "b", image_size=32, num_processes=2, **changes)
    assert content_of(tmp_path / "a") == content_of(tmp_path / "b")
    dataset = ImageDataset(tmp_path / "a")
    found = set()
    for row, record in enumerate(dataset.records):
        where = record["identity"], record["index"]
        seeds = [image_seed(0, *where, attempt) for attempt in range(2)]
        empty = [seed % 3 == 0 for seed in seeds]
        kept = 0 if not empty[0] or empty[1] else 1
        assert record["seed"] == seeds[kept]
        assert record["tries"] == (1 if not empty[0] else 2)
        assert record["flag"] == ("no_face" if all(empty) else "")
        _, contents = attempts(world, *where, UnalignedGenerator("", None, 0))
        found.add((record["tries"], record["flag"]))
        # The detector's landmarks put the picture onto the crop as it is.
        if record["flag"]:
            assert dataset.read(row) == contents[kept]
    assert found == {(1, ""), (2, ""), (2, "no_face")}


def test_a_crop_is_what_alignment_makes_of_the_picture(painted):
    crops = FaceCrops("board", 16, device="cpu")
    picture = np.full((32, 32, 3), 200, np.uint8)
    picture[:, :16] = 50
    crop, found = crops.crop(picture)
    assert found and crop.shape == (16, 16, 3)
    assert np.abs(crop[3:-3, 3:6].astype(int) - 50).max() <= 2
    assert np.abs(crop[3:-3, 10:-3].astype(int) - 200).max() <= 2
    whole, found = crops.crop(np.zeros((32, 32, 3), np.uint8))
    assert not found and whole.shape == (16, 16, 3) and not whole.any()
