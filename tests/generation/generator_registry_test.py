"""The seam of generators: one of one's own runs through the real command."""

import dataclasses
import importlib
import json

import numpy as np
import pytest

from bridges import GenerationConfig, generate_dataset, pretrained
from bridges.cli import generate
from bridges.datasets.image_dataset import ImageDataset
from bridges.generators import generator
from bridges.generators.generator import (
    GENERATORS,
    GeneratorKind,
    kind_of,
    load_generator,
)
from bridges.recognisers.recogniser import load_recogniser
from hyperface_jax import InputError, files
from tests.docstring_examples import example_of
from tests.generation import tiny_models

pytestmark = pytest.mark.skipif(
    not (pretrained.FOLDER / "recogniser_f" / "model.safetensors").exists(),
    reason="this checkout comes without weights",
)


@pytest.fixture
def toy(monkeypatch):
    """The command, loaded after a generator was registered."""
    monkeypatch.setattr(GENERATORS, "_entries", dict(GENERATORS._entries))
    kind = GeneratorKind(
        "tests.generation.toy_generator:ToySettings",
        "tests.generation.toy_generator:ToyGenerator",
    )
    GENERATORS.register("toy", kind)
    yield importlib.reload(generate)
    monkeypatch.undo()
    importlib.reload(generate)


@pytest.fixture
def references(tmp_path):
    path = tmp_path / "references.npz"
    tiny_models.save_references(path, load_recogniser().model, size=512)
    return path


@pytest.mark.parametrize("num_processes", [1, 2])
def test_own_generator_and_its_settings(call, toy, references, num_processes):
    output = references.parent / "dataset"
    code, _, errors = call(
        toy,
        references=references,
        output=output,
        generator="toy",
        truncation=0.5,
        images_per_identity=7,
        num_processes=num_processes,
    )
    assert code == 0, errors
    description = json.loads((output / "dataset.json").read_text())
    settings = description["settings"]
    assert (settings["truncation"], settings["sampler"]) == (0.5, 5)
    assert not {"guidance", "steps"} & set(settings)
    assert description["models"]["generator"]["name"] == "toy"
    images = ImageDataset(output).load()
    assert images.shape == (21, 16, 16, 3)
    assert np.abs(images.astype(int) - 127).max() <= 1


def test_a_setting_of_another_generator_is_refused(call, toy, references):
    output = references.parent / "dataset"
    asked = {"references": references, "output": output, "generator": "toy"}
    code, _, errors = call(toy, **asked, steps=3)
    assert code == 2 and errors.count("\n") == 1
    assert "--steps is a setting of latent_diffusion, which toy does not" in errors
    asked["generator"] = "embedded"
    code, _, errors = call(toy, **asked, truncation=0.5)
    assert code == 2 and errors.count("\n") == 1
    assert "--truncation is a setting of toy, which latent_diffusion" in errors
    assert not output.exists()


def test_the_example_of_the_docstring_makes_a_dataset(
    references, monkeypatch, tmp_path
):
    monkeypatch.setattr(GENERATORS, "_entries", dict(GENERATORS._entries))
    names = {}
    exec(example_of(generator), names)
    config = GenerationConfig(
        generator="grey",
        images_per_identity=2,
        num_processes=1,
        settings=names["GreySettings"](brightness=1.0),
    )
    generate_dataset(references, tmp_path / "dataset", config, device="cpu")
    images = ImageDataset(tmp_path / "dataset").load()
    assert images.shape == (6, 64, 64, 3) and images.min() == 255


def test_help_says_whose_a_setting_is(toy):
    assert toy.FLAGS["truncation"].help == "of the grey (of toy)"
    assert toy.FLAGS["lcm"].help.endswith("(of arc2face)")
    assert "by default 10 for latent_diffusion, 25 for arc" in toy.FLAGS["steps"].help


def test_a_generator_is_found_by_name_by_suffix_and_by_what_its_folder_says(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(GENERATORS, "_entries", dict(GENERATORS._entries))
    found = []
    kind = GeneratorKind(dict, lambda name, *where: found.append(name), (".toy",))
    assert kind.default_paths() is None
    GENERATORS.register("toy", kind)
    files.write_json(tmp_path / "own" / "config.json", {"kind": "toy"})
    given = ["toy", str(tmp_path / "weights.toy"), str(tmp_path / "own")]
    for name in given:
        assert kind_of(name) == "toy"
        load_generator(name)
    assert found == given
    assert kind_of("embedded") == kind_of("latent_diffusion") == "latent_diffusion"
    with pytest.raises(InputError, match="and registered: arc2face, toy"):
        kind_of("another")
    files.write_json(tmp_path / "own" / "config.json", {"kind": ["toy"]})
    with pytest.raises(InputError, match="expected 'generator'"):
        load_generator(tmp_path / "own")


@dataclasses.dataclass(frozen=True)
class Paths:
    here: str = dataclasses.field(default="", metadata={"help": "a folder"})
    there: str = dataclasses.field(default="", metadata={"help": "another"})


def test_paths_and_batch_sizes_reach_the_loader(tmp_path, monkeypatch):
    monkeypatch.setattr(GENERATORS, "_entries", dict(GENERATORS._entries))
    found = []

    def load(name, device, batch_size, *, here="", there=""):
        found.append((batch_size, here, there))

    kind = GeneratorKind(dict, load, paths=Paths, batch_sizes=(3, 40))
    assert kind.default_paths() == Paths()
    GENERATORS.register("toy", kind)
    load_generator("toy", device="cpu")
    load_generator("toy", device="cpu", batch_size=7, here=tmp_path, there="")
    monkeypatch.setattr("bridges.devices.Device.is_accelerator", True)
    load_generator("toy", device="cpu", there="b")
    assert found == [(3, "", ""), (7, str(tmp_path), ""), (40, "", "b")]
    with pytest.raises(InputError, match="toy takes no path 'where'; it takes here, t"):
        load_generator("toy", where="a")
    with pytest.raises(InputError, match="latent_diffusion takes no path 'here'; it t"):
        load_generator(here="a")


def test_what_a_generator_says_of_its_images_and_its_recogniser():
    made = load_generator(device="cpu")
    assert made.aligned is True
    assert load_recogniser(made.default_recogniser).model == made.recogniser
