"""Datasets from references by a generator of the real classes: content, refusals."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from bridges import GenerationConfig, generate_dataset, load_generator
from bridges.datasets.folder_listing import BESIDE_GENERATED
from bridges.datasets.image_dataset import ImageDataset, encode_jpeg
from bridges.generation.identity_variation import image_seed, vary_identity
from bridges.generators.latent_diffusion.settings import LatentDiffusionSettings
from bridges.recognisers.recogniser import load_recogniser
from hyperface_jax import InputError, load_embeddings
from tests.generation import tiny_models

TWO_STEPS = LatentDiffusionSettings(steps=2)
# Random weights show nobody, so every image passes the gate.
SETTINGS = {
    "images_per_identity": 5,
    "settings": TWO_STEPS,
    "seed": 3,
    "min_cosine": -1,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a recogniser, a generator, references, and a finished dataset."""
    folder = tmp_path_factory.mktemp("world")
    model = tiny_models.save_tiny_recogniser(folder / "recogniser")
    tiny_models.save_tiny_generator(folder / "generator", model)
    tiny_models.save_references(folder / "references.npz", model)
    generate_dataset(folder / "references.npz", folder / "dataset", config_of(folder))
    return folder


def config_of(world: pathlib.Path, **changes) -> GenerationConfig:
    return GenerationConfig(
        generator=str(world / "generator"),
        recogniser=str(world / "recogniser"),
        **{"num_processes": 1, **SETTINGS, **changes},
    )


def content_of(folder: pathlib.Path) -> dict[str, bytes]:
    """Every file by name, without what says when and by which command it was made."""
    content = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in BESIDE_GENERATED:
            content[str(path.relative_to(folder))] = path.read_bytes()
    description = json.loads(content.pop("dataset.json"))
    description.pop("created_with")
    content["dataset.json"] = json.dumps(description, sort_keys=True).encode()
    return content


def test_records_and_images(world):
    dataset = ImageDataset(world / "dataset")
    # This generator doesn't say what it was trained on.
    assert "licence" not in json.loads((world / "dataset/dataset.json").read_text())
    assert len(dataset) == 15
    assert dataset.labels.tolist() == [i for i in range(3) for _ in range(5)]
    references = load_embeddings(world / "references.npz").embeddings
    shown = load_recogniser(world / "recogniser").embed(dataset.load())
    generator = load_generator(world / "generator")
    for row, record in enumerate(dataset.records):
        identity, index = record["identity"], record["index"]
        assert (identity, index) == divmod(row, 5)
        assert record["seed"] == image_seed(3, identity, index)
        cosine = shown[row] @ references[identity]
        assert record["reference_cosine"] == pytest.approx(cosine, abs=2e-4)
        condition = vary_identity(
            references[identity],
            beta=0.01,
            dataset_seed=3,
            identity=identity,
            index=index,
        )
        image = generator.generate(condition[None], [record["seed"]], TWO_STEPS)[0]
        assert dataset.paths[row].read_bytes() == encode_jpeg(image)


def test_the_dataset_carries_its_references(world):
    before = load_embeddings(world / "references.npz")
    after = load_embeddings(world / "dataset" / "references.npz", kind="references")
    np.testing.assert_array_equal(after.embeddings, before.embeddings)
    assert after.metadata["model"] == before.metadata["model"]


def test_groups_of_the_references_are_recorded_with_every_image(world, tmp_path):
    content = load_embeddings(world / "references.npz")
    gender = np.array(["female", "male", "female"])
    grouped = content._replace(groups={"gender": gender, "seed": gender})
    config = config_of(world, images_per_identity=2)
    generate_dataset(grouped, tmp_path / "dataset", config)
    records = ImageDataset(tmp_path / "dataset").records
    assert [record["gender"] for record in records] == gender.repeat(2).tolist()
    # Nor does a group hide another entry.
    assert [record["group_seed"] for record in records] == gender.repeat(2).tolist()
    assert all(isinstance(record["seed"], int) for record in records)
    groups = load_embeddings(tmp_path / "dataset" / "references.npz").groups
    np.testing.assert_array_equal(groups["gender"], gender)
    with pytest.raises(InputError, match="groups"):
        other = content._replace(groups={"gender": gender[::-1]})
        generate_dataset(other, tmp_path / "dataset", config)


def test_a_finished_dataset_is_left_alone(world):
    before = {p: p.stat().st_mtime_ns for p in (world / "dataset").rglob("*")}
    generate_dataset(world / "references.npz", world / "dataset", config_of(world))
    assert {p: p.stat().st_mtime_ns for p in (world / "dataset").rglob("*")} == before


def test_content_of_a_file_serves_as_well_as_its_name(world, tmp_path):
    references = load_embeddings(world / "references.npz")
    generate_dataset(references, tmp_path / "dataset", config_of(world))
    assert content_of(tmp_path / "dataset") == content_of(world / "dataset")


def test_more_images_keep_those_of_fewer(world, tmp_path):
    config = config_of(world, images_per_identity=2)
    generate_dataset(world / "references.npz", tmp_path / "few", config)
    many, few = content_of(world / "dataset"), content_of(tmp_path / "few")
    images = [name for name in few if name.endswith(".jpg")]
    assert len(images) == 6
    assert all(few[name] == many[name] for name in images)


def test_the_number_of_processes_does_not_matter(world, tmp_path):
    config = config_of(world, images_per_identity=20)
    several = dataclasses.replace(config, num_processes=2)
    generate_dataset(world / "references.npz", tmp_path / "one", config)
    generate_dataset(world / "references.npz", tmp_path / "two", several)
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two")


@pytest.mark.parametrize(
    "changes",
    [
        {"beta": 0.02},
        {"settings": LatentDiffusionSettings(guidance=1.5, steps=2)},
        {"settings": LatentDiffusionSettings(steps=1)},
        {"seed": 4},
    ],
    ids=str,
)
def test_every_setting_matters_and_is_remembered(world, tmp_path, changes):
    with pytest.raises(InputError, match="made with"):
        config = config_of(world, **changes)
        generate_dataset(world / "references.npz", world / "dataset", config)
    config = config_of(world, images_per_identity=1, **changes)
    generate_dataset(world / "references.npz", tmp_path / "other", config)
    name = "images/000001/000001_000.jpg"
    other = (tmp_path / "other" / name).read_bytes()
    assert other != (world / "dataset" / name).read_bytes()


def test_references_of_another_recogniser_are_refused(world, tmp_path):
    path = tmp_path / "references.npz"
    tiny_models.save_references(path, {"name": "another", "sha256": "1" * 64})
    with pytest.raises(InputError, match="another"):
        generate_dataset(path, tmp_path / "dataset", config_of(world))
    assert not (tmp_path / "dataset").exists()


def test_the_cure_for_another_recogniser_is_not_to_embed_again(world, tmp_path):
    config = dataclasses.replace(config_of(world), recogniser="recogniser_f")
    with pytest.raises(InputError, match="generator tiny takes"):
        generate_dataset(world / "references.npz", tmp_path / "dataset", config)


def test_rows_of_an_unnamed_recogniser_are_taken_with_a_warning(world, tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, embeddings=tiny_models.unit_rows(1))
    config = config_of(world, images_per_identity=1)
    with pytest.warns(UserWarning, match=r"own\.npz: doesn't say which recogniser"):
        generate_dataset(path, tmp_path / "dataset", config)


def test_a_gallery_is_refused(world, tmp_path):
    path = tmp_path / "gallery.npz"
    model = load_recogniser(world / "recogniser").model
    tiny_models.save_references(path, model, kind="gallery")
    with pytest.raises(InputError, match="hyperface-pack"):
        generate_dataset(path, tmp_path / "dataset", config_of(world))


def test_embeddings_of_another_length_are_refused(world, tmp_path):
    references = load_embeddings(world / "references.npz")
    short = references._replace(embeddings=tiny_models.unit_rows(3, 8))
    with pytest.raises(InputError, match="8 entries"):
        generate_dataset(short, tmp_path / "dataset", config_of(world))


def test_a_generator_that_does_not_exist_is_refused(world, tmp_path):
    config = dataclasses.replace(config_of(world), generator="stylegan2")
    with pytest.raises(InputError, match="those that ship are: latent_diffusion"):
        generate_dataset(world / "references.npz", tmp_path / "dataset", config)


@pytest.mark.parametrize(
    "changes",
    [
        {"images_per_identity": 0},
        {"beta": -0.1},
        {"beta": float("nan")},
        {"seed": -1},
        {"num_processes": 0},
        {"batch_size": 0},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(InputError, match=next(iter(changes))):
        GenerationConfig(**changes)
