"""What the public functions of bridges are given is checked where it enters."""

import numpy as np
import pytest

from bridges.datasets.image_dataset import ImageDataset, ImageDatasetWriter, encode_jpeg
from bridges.datasets.images import read_image
from bridges.datasets.verification_set import load_verification_set, write_pairs
from bridges.demo.config import DemoConfig
from bridges.evaluation.verification import evaluate_verification, find_benchmarks
from bridges.faces.verification_sets import render_verification_set
from bridges.faces.world import FaceWorld, Photograph, render_dataset
from bridges.generation.generation_config import GenerationConfig
from bridges.generation.identity_variation import vary_identity
from bridges.generators.generator import load_generator
from bridges.generators.latent_diffusion.settings import LatentDiffusionSettings
from bridges.generators.latent_diffusion.training_config import DiffusionTrainingConfig
from bridges.recognisers.gallery import embed_folder
from bridges.recognisers.recogniser import load_recogniser
from bridges.recognition.backbones import build_backbone
from bridges.recognition.config import TrainingConfig
from bridges.recognition.head_options import AdaFaceOptions
from bridges.recognition.heads import build_head
from bridges.recognition.training import train_recogniser
from bridges.report import write_report
from hyperface_jax import InputError

NAN = float("nan")
UNIT = np.eye(4, dtype=np.float32)
SAME, FOLD = [True, False, True, False], [0, 0, 1, 1]


def write(folder, **record) -> None:
    with ImageDatasetWriter(folder / "set", settings={}, kind="rendered") as writer:
        writer.write(np.zeros((8, 8, 3), np.uint8), {"seed": 0, **record})


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (config, {name: value})
        for config, names in (
            (GenerationConfig, ("images_per_identity", "beta", "seed")),
            (LatentDiffusionSettings, ("guidance", "steps")),
            (TrainingConfig, ("epochs", "batch_size", "image_size", "seed")),
            (AdaFaceOptions, ("margin", "scale", "concentration", "margin_warmup")),
            (DemoConfig, ("num_identities", "num_pairs", "regularization_weight")),
            (DiffusionTrainingConfig, ("minutes", "batch_size", "drop_rate", "seed")),
        )
        for name in names
        for value in ("3", None, NAN, -1, True, [3])
    ],
)
def test_settings(config, settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        config(**settings)


@pytest.mark.parametrize("name", ["batch_size", "image_size", "seed"])
def test_whole_numbers_are_whole_and_numpy_s_become_python_s(name):
    with pytest.raises(InputError, match=f"{name} is 64.5, must be a whole number"):
        TrainingConfig(**{name: 64.5})
    assert type(getattr(TrainingConfig(**{name: np.int32(64)}), name)) is int


@pytest.mark.parametrize(
    "call",
    [
        lambda folder: ImageDataset(None),
        lambda folder: ImageDataset(""),
        lambda folder: load_verification_set(5),
        lambda folder: find_benchmarks(None),
        lambda folder: load_recogniser(None),
        lambda folder: load_generator(""),
        lambda folder: write_report(None),
        lambda folder: embed_folder(folder, None),
        lambda folder: train_recogniser(None, folder / "a"),
        lambda folder: train_recogniser([], folder / "a"),
        lambda folder: read_image(None),
        lambda folder: read_image(folder / "a.png", 0),
        lambda folder: read_image(folder / "a.png", 1.5),
        lambda folder: encode_jpeg([[1, 2], [3]]),
        lambda folder: encode_jpeg(np.zeros((0, 8, 3), np.uint8)),
        lambda folder: write(folder, identity="ann", index=0),
        lambda folder: write(folder, identity=0.5, index=0),
        lambda folder: write(folder, identity=0, index=-1),
        lambda folder: write(folder, identity=0, index=0, age=NAN),
        lambda folder: write(folder, identity=0, index=0, age=object()),
        lambda folder: write_pairs(folder, None),
        lambda folder: write_pairs(folder, [("a", "b", "yes", 0)]),
        lambda folder: evaluate_verification(UNIT, UNIT, ["a", "b", "a", "b"], FOLD),
        lambda folder: evaluate_verification(UNIT, UNIT, SAME, [0, 0, NAN, 1]),
        lambda folder: evaluate_verification(UNIT, UNIT, SAME, FOLD, ["old"]),
        lambda folder: evaluate_verification([[1], [1, 2]], UNIT, SAME, FOLD),
        lambda folder: evaluate_verification(None, UNIT, SAME, FOLD),
        lambda folder: FaceWorld(1.5),
        lambda folder: FaceWorld("0"),
        lambda folder: FaceWorld().identity(-1),
        lambda folder: FaceWorld().photograph(Photograph(0, 0.5), 64),
        lambda folder: FaceWorld().photograph(Photograph(0, 0), 5),
        lambda folder: render_dataset(
            folder, num_identities=1.5, images_per_identity=1
        ),
        lambda folder: render_verification_set(None, folder),
        lambda folder: render_verification_set("mixed", folder, num_pairs="40"),
        lambda folder: vary_identity(None, beta=0, dataset_seed=0, identity=0, index=0),
        lambda folder: vary_identity(
            UNIT[0], beta="a", dataset_seed=0, identity=0, index=0
        ),
        lambda folder: vary_identity(
            UNIT[0], beta=0, dataset_seed=-1, identity=0, index=0
        ),
        lambda folder: build_backbone(["iresnet18"]),
        lambda folder: build_backbone("iresnet18", image_size=64.0),
        lambda folder: build_head("adaface", 512, 0),
        lambda folder: build_head("adaface", 512, 3, temperature=1),
    ],
)
def test_functions(tmp_path, call):
    with pytest.raises(InputError) as error:
        call(tmp_path)
    assert "\n" not in str(error.value)


def test_a_generator_s_arguments():
    generator = load_generator()
    rows = np.eye(generator.embedding_size, dtype=np.float32)[:2]
    for seeds, settings in (
        (None, {}),
        ([1, 0.5], {}),
        ([1, -1], {}),
        ([True, False], {}),
        ([1, 2], {"guidance": "5"}),
        ([1, 2], {"guidance": NAN}),
        ([1, 2], {"steps": 1.5}),
    ):
        with pytest.raises(InputError):
            generator.generate(rows, seeds, LatentDiffusionSettings(**settings))
