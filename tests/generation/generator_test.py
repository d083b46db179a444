"""The generator: what an image depends on, and how it is stored."""

import json

import numpy as np
import pytest
import torch

from bridges import load_generator, pretrained
from bridges.generators import generator as generator_module
from bridges.generators.latent_diffusion.settings import LatentDiffusionSettings
from bridges.recognisers.recogniser import load_recogniser
from hyperface_jax import InputError, files
from tests.generation import tiny_models

RECOGNISER = {"name": "r", "sha256": "0" * 64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generator")
    tiny_models.save_tiny_generator(folder, RECOGNISER)
    return folder


@pytest.fixture(scope="module")
def generator(folder):
    return load_generator(folder)


ROWS = tiny_models.unit_rows(37)
SEEDS = np.arange(37)
STEPS = LatentDiffusionSettings(steps=3)


@pytest.fixture(scope="module")
def images(generator):
    return generator.generate(ROWS, SEEDS, STEPS)


def test_what_it_says_of_itself(generator, folder, images):
    sha256 = files.sha256_of(folder / "model.safetensors")
    assert generator.model == {"name": "tiny", "sha256": sha256}
    assert generator.recogniser == RECOGNISER
    assert images.shape == (37, generator.image_size, generator.image_size, 3)
    assert images.dtype == np.uint8


def test_any_image_can_be_made_again_by_itself(generator, images):
    for row in (0, 15, 16, 36):
        alone = generator.generate(ROWS[row : row + 1], SEEDS[row : row + 1], STEPS)
        np.testing.assert_array_equal(alone[0], images[row])


def test_order_and_company_do_not_matter(generator, images):
    order = np.random.default_rng(0).permutation(37)
    shuffled = generator.generate(ROWS[order], SEEDS[order], STEPS)
    np.testing.assert_array_equal(shuffled, images[order])


def test_threads_do_not_matter(generator, images):
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        again = generator.generate(ROWS[:5], SEEDS[:5], STEPS)
        assert torch.get_num_threads() == 4, "the caller's setting is left alone"
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(again, images[:5])


def test_the_global_random_state_is_neither_read_nor_changed(generator, images):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = generator.generate(ROWS[:2], SEEDS[:2], STEPS)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(again, images[:2])


@pytest.mark.parametrize(
    "change",
    [
        {"embeddings": ROWS[1:2]},
        {"seeds": [99]},
        {"settings": LatentDiffusionSettings(guidance=4.0, steps=3)},
        {"settings": LatentDiffusionSettings(guidance=2.0, steps=4)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_argument_matters(generator, change):
    settings = LatentDiffusionSettings(guidance=2.0, steps=3)
    base = {"embeddings": ROWS[:1], "seeds": [0], "settings": settings}
    first = generator.generate(**base)
    assert (generator.generate(**{**base, **change}) != first).any()


def test_float16_weights_load_as_float32_of_the_same_value(tmp_path):
    network = tiny_models.save_tiny_generator(tmp_path, RECOGNISER)
    loaded = load_generator(tmp_path).network
    for name, value in network.state_dict().items():
        found = loaded.state_dict()[name]
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, value.half().float(), atol=0, rtol=0)


def test_float16_changes_images_by_a_grey_level_at_most(tmp_path):
    tiny_models.save_tiny_generator(tmp_path / "a", RECOGNISER, torch.float32)
    tiny_models.save_tiny_generator(tmp_path / "b", RECOGNISER, torch.float16)
    first, second = (
        load_generator(tmp_path / name).generate(ROWS[:4], SEEDS[:4], STEPS)
        for name in "ab"
    )
    assert np.abs(first.astype(int) - second).mean() < 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"embeddings": 2 * ROWS[:1]}, "unit length"),
        ({"embeddings": tiny_models.unit_rows(1, 8)}, "8 entries"),
        ({"embeddings": ROWS[0]}, "shape"),
        ({"seeds": [1, 2]}, "2 seeds for 1"),
        ({"settings": {"steps": 3}}, "takes settings of type LatentDiffusionSettings"),
    ],
)
def test_refusals(generator, arguments, message):
    base = {"embeddings": ROWS[:1], "seeds": [0]}
    with pytest.raises(InputError, match=message):
        generator.generate(**{**base, **arguments})


@pytest.mark.parametrize(
    "settings",
    [{"guidance": -1.0}, {"guidance": 99.0}, {"guidance": float("nan")}, {"steps": 0}],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        LatentDiffusionSettings(**settings)


def test_an_unknown_generator_is_refused(tmp_path):
    with pytest.raises(InputError, match="those that ship"):
        load_generator("no_such_generator")
    with pytest.raises(InputError, match=r"config\.json"):
        load_generator(tmp_path)


def test_a_folder_of_the_name_of_a_shipped_model_is_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pretrained.find("embedded") == pretrained.FOLDER / "latent_diffusion"
    for name, load in (
        ("recogniser_f", load_recogniser),
        ("latent_diffusion", load_generator),
    ):
        assert pretrained.find(name) == pretrained.FOLDER / name
        own = tmp_path / name
        if name == "recogniser_f":
            tiny_models.save_tiny_recogniser(own)
        else:
            tiny_models.save_tiny_generator(own, RECOGNISER)
        with pytest.raises(InputError, match=f"{name}: .* give {own} for the folder"):
            load(name)
        for path in (f"./{name}", f"{name}/", own):
            assert load(path).embedding_size == tiny_models.EMBEDDING_SIZE


def test_a_generator_of_no_recogniser_is_refused(tmp_path):
    tiny_models.save_tiny_generator(tmp_path, None)
    with pytest.raises(InputError, match=r"config\.json: no usable entry 'recogniser'"):
        load_generator(tmp_path)


def test_a_damaged_generator_is_refused(tmp_path):
    tiny_models.save_tiny_generator(tmp_path, RECOGNISER)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        load_generator(tmp_path)


@pytest.mark.parametrize("entry", [None, {"depth": 3}])
def test_a_folder_of_another_program_is_refused(tmp_path, entry):
    tiny_models.save_tiny_generator(tmp_path, RECOGNISER)
    description = json.loads((tmp_path / "config.json").read_text())
    description["denoiser"] = entry
    files.write_json(tmp_path / "config.json", description)
    with pytest.raises(InputError, match="no usable entry 'denoiser'"):
        load_generator(tmp_path)


def test_a_folder_of_another_kind_is_refused(tmp_path):
    tiny_models.save_tiny_generator(tmp_path, RECOGNISER)
    description = json.loads((tmp_path / "config.json").read_text())
    description["kind"] = "autoencoder"
    files.write_json(tmp_path / "config.json", description)
    with pytest.raises(InputError, match="expected 'generator'"):
        load_generator(tmp_path)


def test_shipped_generators_can_be_loaded():
    for name in generator_module.shipped_generators():
        assert load_generator(name).model["name"] == name
