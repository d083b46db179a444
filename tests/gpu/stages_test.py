"""Every stage in torch on a GPU, against the CPU."""

import json
import pathlib

import numpy as np
import pytest
import torch

from bridges import (
    FaceWorld,
    GenerationConfig,
    Photograph,
    TrainingConfig,
    generate_dataset,
    load_generator,
    load_recogniser,
    train_recogniser,
)
from bridges.generators.arc2face.settings import Arc2FaceSettings
from bridges.generators.latent_diffusion.autoencoder_training import train_autoencoder
from bridges.generators.latent_diffusion.training_config import (
    AutoencoderTrainingConfig,
)
from hyperface_jax import InputError, save_embeddings
from tests.generation import arc2face_files

pytestmark = pytest.mark.gpu

# Cosines between what two devices compute: float32 in another order, and halves.
NEARLY_ONE = {"float32": 1 - 1e-5, "float16": 0.999, "bfloat16": 0.98}
# Levels of 255, the mean over all pixels: ten solver steps enlarge rounding.
PIXEL_LEVELS = {"float32": 1.0, "float16": 4.0, "bfloat16": 8.0}
# Relative, over three steps; the first ones of float16 only find its scale.
LOSSES = {"float32": 0.02, "bfloat16": 0.05, "float16": 0.25}


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """``[12, 64, 64, 3]`` uint8, rendered faces of twelve people."""
    world = FaceWorld(seed=0, stream="gallery")
    return np.stack([world.photograph(Photograph(i, 0), 64)[0] for i in range(12)])


@pytest.fixture(scope="module")
def embeddings(cuda, faces) -> np.ndarray:
    """``[12, 512]`` of them, by the CPU."""
    return load_recogniser(device="cpu").embed(faces)


@pytest.fixture(scope="module")
def references(embeddings, tmp_path_factory) -> pathlib.Path:
    """The embeddings as a file."""
    path = tmp_path_factory.mktemp("references") / "references.npz"
    model = load_recogniser(device="cpu").model
    save_embeddings(path, embeddings, kind="references", model=model)
    return path


@pytest.fixture(scope="module")
def images(references, tmp_path_factory) -> pathlib.Path:
    """A data set of four images of each, by the CPU."""
    folder = tmp_path_factory.mktemp("images") / "images"
    config = GenerationConfig(images_per_identity=4)
    generate_dataset(references, folder, config, device="cpu")
    return folder


@pytest.mark.parametrize("precision", NEARLY_ONE)
def test_embeddings_agree_with_the_cpu(cuda, faces, embeddings, precision):
    found = load_recogniser(device=cuda, precision=precision).embed(faces)
    assert np.sum(found * embeddings, axis=1).min() > NEARLY_ONE[precision]


@pytest.mark.parametrize("precision", PIXEL_LEVELS)
def test_images_agree_with_the_cpu(cuda, embeddings, precision):
    expected = load_generator(device="cpu").generate(embeddings, range(12))
    generator = load_generator(device=cuda, precision=precision)
    found = generator.generate(embeddings, range(12))
    difference = np.abs(found.astype(int) - expected.astype(int)).mean()
    assert difference < PIXEL_LEVELS[precision]


def test_images_do_not_depend_on_what_else_is_made(cuda, embeddings):
    generator = load_generator(device=cuda)
    together = generator.generate(embeddings, range(12))
    alone = generator.generate(embeddings[5:6], [5])
    np.testing.assert_array_equal(together[5:6], alone)


@pytest.mark.parametrize("precision", PIXEL_LEVELS)
def test_images_of_arc2face_agree_with_the_cpu(cuda, tmp_path, precision):
    paths = arc2face_files.write(tmp_path)
    rows, settings = np.eye(3, 512, dtype=np.float32), Arc2FaceSettings(steps=6)
    expected = load_generator("arc2face", device="cpu", **paths).generate(
        rows, range(3), settings
    )
    generator = load_generator("arc2face", device=cuda, precision=precision, **paths)
    assert generator.batch_size == 8
    found = generator.generate(rows, range(3), settings)
    difference = np.abs(found.astype(int) - expected.astype(int)).mean()
    assert difference < PIXEL_LEVELS[precision]
    alone = generator.generate(rows[2:], [2], settings)
    np.testing.assert_array_equal(alone[0], found[2])


def test_dataset_says_which_device_made_it_and_is_not_continued_on_another(
    cuda, references, tmp_path
):
    output = tmp_path / "dataset"
    config = GenerationConfig(images_per_identity=2)
    generate_dataset(references, output, config, device=cuda)
    settings = json.loads((output / "dataset.json").read_text())["settings"]
    assert torch.cuda.get_device_name(0) in settings["device"]
    with pytest.raises(InputError, match=r"device|batch_size"):
        generate_dataset(references, output, config, device="cpu")


@pytest.mark.parametrize("precision", LOSSES)
def test_training_follows_the_cpu(cuda, images, tmp_path, precision):
    # No noise on pixels, which each kind of device draws for itself.
    config = TrainingConfig(epochs=1, batch_size=16, augmentation="none")
    losses = [
        train_recogniser(
            images, tmp_path / name, config, device=device, precision=kind
        )["history"][-1]["loss"]
        for name, device, kind in (
            ("gpu", cuda, precision),
            ("cpu", "cpu", "float32"),
        )
    ]
    assert losses[0] == pytest.approx(losses[1], rel=LOSSES[precision])
    # A checkpoint is of no device.
    trained = load_recogniser(tmp_path / "gpu", device="cpu")
    assert trained.embed(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 512)


def test_autoencoder_is_trained(cuda, images, tmp_path):
    config = AutoencoderTrainingConfig(minutes=0.1)
    train_autoencoder(images, tmp_path / "autoencoder", config, device=cuda)
    assert (tmp_path / "autoencoder" / "model.safetensors").exists()
