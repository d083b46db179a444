"""Trainings: the budget, the checkpoint, and that losses fall."""

import json
import resource
import shutil

import numpy as np
import pytest
import torch

from bridges import load_generator
from bridges.datasets.image_dataset import ImageDataset, ImageDatasetWriter
from bridges.generators.latent_diffusion import autoencoder_training
from bridges.generators.latent_diffusion.autoencoder_losses import feature_distance
from bridges.generators.latent_diffusion.autoencoder_training import train_autoencoder
from bridges.generators.latent_diffusion.diffusion_training import (
    train_latent_diffusion,
)
from bridges.generators.latent_diffusion.generator_export import export_generator
from bridges.generators.latent_diffusion.latent_cache import (
    load_autoencoder,
    load_latent_cache,
    load_sources,
)
from bridges.generators.latent_diffusion.settings import LatentDiffusionSettings
from bridges.generators.latent_diffusion.training_config import (
    AutoencoderTrainingConfig,
    DiffusionTrainingConfig,
)
from bridges.recognisers.embedding import embed_source
from bridges.recognisers.recogniser import load_recogniser
from bridges.training import timed_training
from bridges.training.data_parallel import Workers
from hyperface_jax import InputError
from tests.generation import tiny_models

ONE_SECOND = 1 / 60


class Stop(Exception):
    """Stands for a kill: the loop ends without a word."""


class Counter:
    """State that counts its updates, and stops the run at one of them."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.updates = torch.zeros(())
        self.stop_at = stop_at

    def update(self, progress: float, step: int) -> dict[str, float]:
        assert 0 <= progress < 1
        assert step == int(self.updates)
        if step == self.stop_at:
            raise Stop
        self.updates += 1
        return {"loss": 1.0}

    def state_dict(self):
        return {"updates": self.updates}

    def load_state_dict(self, state):
        self.updates = state["updates"]


def train(counter: Counter, folder, seconds: float, settings=None):
    return timed_training.train_for(
        seconds,
        counter.update,
        {"counter": counter},
        folder,
        settings=settings or {"rate": 1},
        images_per_step=4,
        workers=Workers(0, 1),
        checkpoint_every=0.0,
    )


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    with pytest.raises(Stop):
        train(Counter(stop_at=20), tmp_path, 60.0)
    with pytest.raises(Stop):
        train(Counter(stop_at=35), tmp_path, 60.0)
    saved = torch.load(tmp_path / "training.pt", weights_only=True)
    assert saved["step"] == 35
    # What was spent counts: a budget of less is over at once.
    counter = Counter()
    record = train(counter, tmp_path, saved["spent"])
    assert record["steps"] == counter.updates == 35
    assert record["images"] == 140


def test_a_run_that_goes_on_draws_new_random_numbers(tmp_path):
    drawn = []

    class Drawing(Counter):
        def update(self, progress, step):
            drawn.append(torch.rand(()).item())
            return super().update(progress, step)

    for stop in (5, 9, 14):
        torch.manual_seed(3)
        with pytest.raises(Stop):
            train(Drawing(stop_at=stop), tmp_path, 60.0)
    assert len(drawn) == len(set(drawn)) > 14


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    with pytest.raises(Stop):
        train(Counter(stop_at=3), tmp_path, 60.0)
    with pytest.raises(InputError, match="rate = 1"):
        train(Counter(), tmp_path, 60.0, settings={"rate": 2})


def test_the_schedule_warms_up_and_ends_near_nothing():
    rate = timed_training.cosine_schedule
    assert rate(0.0, 0, warmup=10) == pytest.approx(0.1)
    assert rate(0.0, 50, warmup=10) == 1
    assert rate(0.5, 50, warmup=10) == pytest.approx(0.5025)
    assert rate(1.0, 50, warmup=10) == pytest.approx(0.005)


def test_a_checkpoint_that_can_not_be_written_leaves_the_one_before(tmp_path):
    with pytest.raises(Stop):
        train(Counter(stop_at=3), tmp_path, 60.0)
    before = (tmp_path / "training.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            train(Counter(stop_at=9), tmp_path, 60.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["training.pt"]
    assert (tmp_path / "training.pt").read_bytes() == before


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Twelve identities of three images: a coarse pattern each, plus a little noise."""
    folder = tmp_path_factory.mktemp("training")
    rng = np.random.default_rng(0)
    with ImageDatasetWriter(folder / "faces", settings={}, kind="rendered") as writer:
        for identity in range(12):
            face = np.kron(rng.integers(40, 215, (2, 2, 3)), np.ones((8, 8, 1)))
            for index in range(3):
                image = (face + rng.normal(0, 8, face.shape)).clip(0, 255)
                record = {"identity": identity, "index": index, "seed": 0}
                writer.write(image.astype(np.uint8), record)
        writer.finish()
    tiny_models.save_tiny_recogniser(folder / "recogniser")
    train_both(folder)
    return folder


@pytest.fixture
def elsewhere(world, tmp_path):
    """The same models and images in another place."""
    for name in ("faces", "autoencoder", "recogniser", "diffusion"):
        shutil.copytree(world / name, tmp_path / name)
    return tmp_path


def train_both(folder) -> None:
    """Asks for the two trained models of a folder."""
    train_autoencoder(
        str(folder / "faces"),
        str(folder / "autoencoder"),
        AutoencoderTrainingConfig(minutes=ONE_SECOND),
        shape=tiny_models.AUTOENCODER,
    )
    train_latent_diffusion(
        *(str(folder / name) for name in ("faces", "autoencoder", "recogniser")),
        str(folder / "diffusion"),
        DiffusionTrainingConfig(minutes=ONE_SECOND, num_processes=1, batch_size=8),
        shape=tiny_models.DENOISER,
    )


def test_a_trained_model_stays_where_the_same_is_asked_for(elsewhere):
    train_both(elsewhere)
    for name in ("autoencoder", "diffusion"):
        path = elsewhere / name / "config.json"
        description = json.loads(path.read_text())
        # As an earlier version wrote it.
        del description["settings"]
        path.write_text(json.dumps(description))
    train_both(elsewhere)
    export_generator(
        elsewhere / "autoencoder", elsewhere / "diffusion", elsewhere / "generator"
    )
    assert load_generator(elsewhere / "generator").image_size == 16


def test_a_model_that_was_trained_meanwhile_stays(elsewhere, monkeypatch):
    """Another process begins and ends between the look and the lock."""
    path = elsewhere / "autoencoder" / "model.safetensors"
    finished = path.rename(elsewhere / "finished")
    read = autoencoder_training.load_training_images

    def read_slowly(*arguments):
        finished.rename(path)
        return read(*arguments)

    monkeypatch.setattr(autoencoder_training, "load_training_images", read_slowly)
    before = finished.stat().st_mtime_ns
    train_both(elsewhere)
    assert path.stat().st_mtime_ns == before


def test_a_trained_model_of_other_inputs_is_refused(elsewhere):
    with pytest.raises(InputError, match=r"diffusion/config\.json: .* other initial"):
        train_latent_diffusion(
            *(str(elsewhere / n) for n in ("faces", "autoencoder", "recogniser")),
            str(elsewhere / "diffusion"),
            DiffusionTrainingConfig(minutes=ONE_SECOND, num_processes=1, batch_size=8),
            initial=str(elsewhere / "diffusion"),
        )
    image = elsewhere / "faces" / "images" / "000000" / "000000_000.jpg"
    image.write_bytes(image.read_bytes() + b"\0")
    with pytest.raises(InputError, match=r"autoencoder/config\.json: .* other dataset"):
        train_both(elsewhere)


def training_of(folder) -> dict:
    return json.loads((folder / "config.json").read_text())["training"]


def test_trained_folders(world):
    record = training_of(world / "autoencoder")
    assert record["steps"] > 0
    assert record["held-out dB"] > 20
    assert record["settings"]["minutes"] == ONE_SECOND
    assert training_of(world / "diffusion")["steps"] > 0
    for name in ("autoencoder", "diffusion"):
        assert not (world / name / "training.pt").exists()


def test_a_trained_pair_becomes_a_generator(world, tmp_path):
    pair = world / "autoencoder", world / "diffusion"
    export_generator(*pair, tmp_path / "old")
    assert load_generator(tmp_path / "old").licence is None
    for model in (tmp_path / "old", *pair):
        before = (model / "model.safetensors").read_bytes()
        with pytest.raises(InputError, match="there is a model already"):
            export_generator(*pair, model)
        assert (model / "model.safetensors").read_bytes() == before
    export_generator(*pair, tmp_path, name="new", licence="CC0-1.0")
    generator = load_generator(tmp_path)
    assert (generator.model["name"], generator.licence) == ("new", "CC0-1.0")
    assert generator.recogniser["name"] == "recogniser"
    rows = tiny_models.unit_rows(2)
    assert generator.generate(rows, [0, 1], LatentDiffusionSettings(steps=2)).shape == (
        2,
        16,
        16,
        3,
    )


def test_the_decoder_phase_leaves_the_latents_alone(world, tmp_path):
    config = AutoencoderTrainingConfig(minutes=ONE_SECOND, phase="decoder")
    train_autoencoder(
        str(world / "faces"),
        str(tmp_path / "second"),
        config,
        autoencoder=str(world / "autoencoder"),
        recogniser=str(world / "recogniser"),
    )
    first = load_autoencoder(world / "autoencoder")
    second = load_autoencoder(tmp_path / "second")
    assert first.latents_digest() == second.latents_digest()
    changed = zip(first.decoder_parameters(), second.decoder_parameters(), strict=True)
    assert any((one != other).any() for one, other in changed)
    export_generator(tmp_path / "second", world / "diffusion", tmp_path / "generator")


def test_a_denoiser_of_other_latents_is_not_exported(world, tmp_path):
    train_autoencoder(
        str(world / "faces"),
        str(tmp_path / "other"),
        AutoencoderTrainingConfig(minutes=ONE_SECOND / 10, seed=5),
        shape=tiny_models.AUTOENCODER,
    )
    with pytest.raises(InputError, match="latents of another autoencoder"):
        export_generator(
            tmp_path / "other", world / "diffusion", tmp_path / "generator"
        )


def test_the_cache_holds_what_the_models_say(world):
    arguments = [str(world / name) for name in ("faces", "autoencoder", "recogniser")]
    dataset, *models = arguments
    sources = load_sources(ImageDataset(dataset), *models)
    cache = load_latent_cache(sources, str(world / "diffusion"), num_processes=1)
    assert cache.latents.shape == (2, 33, 4, 2, 2)
    assert cache.held_out_labels.unique().tolist() == [11]
    assert cache.labels.max() == 10, "held-out identities are in no training image"
    norms = cache.embeddings.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(33))
    mirrored = (cache.latents[0] != cache.latents[1]).flatten(1).any(1)
    assert mirrored.all()


def test_conditions_are_what_a_larger_recogniser_says_of_the_files(world, tmp_path):
    tiny_models.save_tiny_recogniser(tmp_path / "larger", image_size=48)
    faces = tmp_path / "faces"
    rng = np.random.default_rng(0)
    with ImageDatasetWriter(faces, settings={}, kind="rendered") as writer:
        for number in range(6):
            image = rng.integers(0, 256, (48, 48, 3), np.uint8)
            record = {"identity": number // 2, "index": number % 2, "seed": 0}
            writer.write(image, record)
        writer.finish()
    models = str(world / "autoencoder"), str(tmp_path / "larger")
    sources = load_sources(ImageDataset(faces), *models)
    cache = load_latent_cache(sources, str(tmp_path), num_processes=1)
    expected = embed_source(load_recogniser(tmp_path / "larger"), ImageDataset(faces))
    both = torch.cat([cache.embeddings, cache.held_out_embeddings])
    np.testing.assert_allclose(both, expected, atol=1e-5)
    loss = feature_distance(str(tmp_path / "larger"))
    images = torch.rand(2, 3, 16, 16)
    assert loss(images, images) == 0 and loss(images, images.flip(2)) > 0


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"phase": "encoder"}, "phase 'encoder'"),
        ({"minutes": 0.0}, "minutes"),
        ({"num_processes": 3}, "num_processes 3"),
    ],
)
def test_autoencoder_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        AutoencoderTrainingConfig(**changes)


def test_phases_need_what_they_need(world, tmp_path):
    config = AutoencoderTrainingConfig(phase="decoder")
    with pytest.raises(InputError, match="needs --autoencoder"):
        train_autoencoder(str(world / "faces"), str(tmp_path), config)
    with pytest.raises(InputError, match="can't change --latent_channels"):
        train_autoencoder(
            str(world / "faces"),
            str(tmp_path),
            config,
            latent_channels=6,
            autoencoder=str(world / "autoencoder"),
            recogniser=str(world / "recogniser"),
        )


def test_a_trained_pair_gains_latent_channels(world, tmp_path):
    train_autoencoder(
        str(world / "faces"),
        str(tmp_path / "wider"),
        AutoencoderTrainingConfig(minutes=ONE_SECOND),
        latent_channels=6,
        autoencoder=str(world / "autoencoder"),
    )
    assert load_autoencoder(tmp_path / "wider").config.latent_channels == 6
    train_latent_diffusion(
        str(world / "faces"),
        str(tmp_path / "wider"),
        str(world / "recogniser"),
        str(tmp_path / "denoiser"),
        DiffusionTrainingConfig(minutes=ONE_SECOND, num_processes=1, batch_size=8),
        initial=str(world / "diffusion"),
    )
    export_generator(tmp_path / "wider", tmp_path / "denoiser", tmp_path / "generator")
    rows = tiny_models.unit_rows(2)
    images = load_generator(tmp_path / "generator").generate(
        rows, [0, 1], LatentDiffusionSettings(steps=2)
    )
    assert images.shape == (2, 16, 16, 3)
    with pytest.raises(InputError, match="can't become 4"):
        train_autoencoder(
            str(world / "faces"),
            str(tmp_path / "narrower"),
            AutoencoderTrainingConfig(),
            latent_channels=4,
            autoencoder=str(tmp_path / "wider"),
        )
    with pytest.raises(InputError, match="of 6 channels"):
        train_latent_diffusion(
            str(world / "faces"),
            str(world / "autoencoder"),
            str(world / "recogniser"),
            str(tmp_path / "narrower"),
            DiffusionTrainingConfig(num_processes=1),
            initial=str(tmp_path / "denoiser"),
        )
