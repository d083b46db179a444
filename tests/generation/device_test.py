"""What device and precision change: batches, records, precision, who gets which GPU."""

import json
import types

import numpy as np
import pytest
import torch

from bridges import GenerationConfig, generate_dataset, load_generator
from bridges.cli import generate
from bridges.datasets.image_dataset import ImageDatasetWriter
from bridges.devices import Device
from bridges.generation import image_workers
from bridges.generation.image_workers import Condition, ImageMaker, ImageSettings
from bridges.generators.latent_diffusion.autoencoder_training import train_autoencoder
from bridges.generators.latent_diffusion.diffusion_training import (
    train_latent_diffusion,
)
from bridges.generators.latent_diffusion.settings import LatentDiffusionSettings
from bridges.generators.latent_diffusion.training_config import (
    AutoencoderTrainingConfig,
    DiffusionTrainingConfig,
)
from bridges.training import data_parallel, timed_training
from hyperface_jax import InputError
from tests.generation import tiny_models

SETTINGS = LatentDiffusionSettings(steps=2)
TWO_SECONDS = 2 / 60


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A recogniser, a generator of its embeddings, references and training images."""
    folder = tmp_path_factory.mktemp("world")
    model = tiny_models.save_tiny_recogniser(folder / "recogniser")
    tiny_models.save_tiny_generator(folder / "generator", model)
    tiny_models.save_references(folder / "references.npz", model)
    rng = np.random.default_rng(0)
    with ImageDatasetWriter(folder / "faces", settings={}, kind="rendered") as writer:
        for row in range(24):
            record = {"identity": row // 3, "index": row % 3, "seed": 0}
            writer.write(rng.integers(0, 256, (16, 16, 3), np.uint8), record)
        writer.finish()
    return folder


def image_settings(world, **changes) -> ImageSettings:
    places = str(world / "generator"), str(world / "recogniser")
    return ImageSettings(*places, SETTINGS, **changes)


def conditions(count: int) -> list[Condition]:
    rows = tiny_models.unit_rows(count)
    return [Condition(row, row, seed) for seed, row in enumerate(rows)]


def settings_of(world, output, **asked) -> dict:
    config = GenerationConfig(
        generator=str(world / "generator"),
        recogniser=str(world / "recogniser"),
        images_per_identity=asked.pop("images", 2),
        num_processes=asked.pop("num_processes", 1),
        batch_size=asked.pop("batch_size", None),
        settings=SETTINGS,
        min_cosine=-1,
    )
    generate_dataset(world / "references.npz", output, config, **asked)
    return json.loads((output / "dataset.json").read_text())["settings"]


def test_only_what_differs_from_the_default_is_recorded(world, tmp_path):
    plain = settings_of(world, tmp_path / "plain", device="cpu")
    assert not {"device", "batch_size"} & set(plain)
    same = settings_of(world, tmp_path / "plain", device="cpu", batch_size=16)
    assert same == plain
    small = settings_of(world, tmp_path / "small", device="cpu", batch_size=4)
    assert small == {**plain, "batch_size": 4}
    half = settings_of(world, tmp_path / "half", device="cpu", precision="bfloat16")
    assert half == {**plain, "device": "cpu, bfloat16"}


def test_a_dataset_is_not_made_with_several_devices(world, tmp_path):
    settings_of(world, tmp_path / "plain", device="cpu")
    with pytest.raises(InputError, match=r"plain.*\(device\)"):
        settings_of(world, tmp_path / "plain", device="cpu", precision="bfloat16")
    with pytest.raises(InputError, match=r"plain.*\(batch_size\)"):
        settings_of(world, tmp_path / "plain", device="cpu", batch_size=4)


def test_an_accelerator_is_one_process_with_large_batches(world, tmp_path, monkeypatch):
    """The CPU stands for one, so numbers can be compared."""
    plain = settings_of(world, tmp_path / "plain", device="cpu", images=50)
    monkeypatch.setattr(Device, "is_accelerator", True)
    with pytest.raises(InputError, match="num_processes is 2, but cpu is used by one"):
        settings_of(world, tmp_path / "large", device="cpu", num_processes=2)
    sizes = []
    draw = ImageMaker.draw
    monkeypatch.setattr(
        ImageMaker,
        "draw",
        lambda self, given: sizes.append(len(given)) or draw(self, given),
    )
    large = settings_of(world, tmp_path / "large", device="cpu", images=50)
    assert large == {**plain, "batch_size": 128}
    assert sizes == [128, 22]
    files = sorted((tmp_path / "plain" / "images").rglob("*.jpg"))
    assert len(files) == 150
    for path in files[::10]:
        other = tmp_path / "large" / path.relative_to(tmp_path / "plain")
        first, second = (
            image_workers.decode_jpeg(file.read_bytes()).astype(int)
            for file in (path, other)
        )
        assert np.abs(first - second).max() <= 3


def test_images_are_encoded_while_the_next_are_computed(world, monkeypatch):
    """Batch k is measured after batch k + 1 was drawn, and the order is kept."""
    maker = ImageMaker(image_settings(world, batch_size=4))
    asked = conditions(10)
    expected = list(image_workers.make_images(asked, maker.settings, 1, maker=maker))
    assert len(expected) == 10
    done = []
    for name in ("draw", "measure"):
        plain = getattr(maker, name)

        def noted(given, *more, name=name, plain=plain):
            done.append((name, given[0].seed))
            return plain(given, *more)

        monkeypatch.setattr(maker, name, noted)
    monkeypatch.setattr(Device, "is_accelerator", True)
    made = list(image_workers.make_images(asked, maker.settings, 1, maker=maker))
    assert made == expected
    order = [("draw", 0), ("draw", 4), ("measure", 0), ("draw", 8), ("measure", 4)]
    assert done == [*order, ("measure", 8)]


def test_the_batch_size_of_a_device(world, monkeypatch):
    assert load_generator(world / "generator", device="cpu").batch_size == 16
    monkeypatch.setattr(Device, "is_accelerator", True)
    assert load_generator(world / "generator", device="cpu").batch_size == 128
    large = load_generator(world / "generator", device="cpu", batch_size=7)
    assert large.batch_size == 7


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_precision_changes_images_a_little(world, precision):
    rows, seeds = tiny_models.unit_rows(20), np.arange(20)
    first, second = (
        load_generator(world / "generator", device="cpu", precision=name)
        .generate(rows, seeds, SETTINGS)
        .astype(int)
        for name in ("float32", precision)
    )
    assert (first != second).any(), "it has an effect"
    assert np.abs(first - second).mean() < 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused_in_a_line(call, world, tmp_path):
    code, _, errors = call(
        generate,
        references=world / "references.npz",
        output=tmp_path / "dataset",
        device="cuda",
    )
    assert code == 2 and errors.count("\n") == 1
    assert "device cuda: 0 CUDA devices" in errors
    assert not (tmp_path / "dataset").exists()


def train(world, folder, **where) -> list[dict]:
    """Trains both networks; what ``config.json`` of each says."""
    paths = {name: str(world / name) for name in ("faces", "recogniser")}
    train_autoencoder(
        paths["faces"],
        str(folder / "autoencoder"),
        AutoencoderTrainingConfig(minutes=TWO_SECONDS),
        shape=tiny_models.AUTOENCODER,
        recogniser=paths["recogniser"],
        **where,
    )
    train_latent_diffusion(
        paths["faces"],
        str(folder / "autoencoder"),
        paths["recogniser"],
        str(folder / "diffusion"),
        DiffusionTrainingConfig(minutes=TWO_SECONDS, num_processes=1, batch_size=8),
        shape=tiny_models.DENOISER,
        **where,
    )
    names = ("autoencoder", "diffusion")
    return [json.loads((folder / name / "config.json").read_text()) for name in names]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_trainings_of_a_smaller_precision(world, tmp_path, precision):
    where = {"device": "cpu", "precision": precision}
    for description in train(world, tmp_path, **where):
        assert description["settings"]["precision"] == precision
        assert description["training"]["device"] == f"cpu, {precision}"
        assert description["training"]["steps"] > 3
        figures = {"held-out dB", "held-out loss"} & set(description["training"])
        assert all(np.isfinite(description["training"][name]) for name in figures)
    with pytest.raises(InputError, match=r"config\.json: .*precision"):
        train(world, tmp_path, device="cpu")


def test_float16_gradients_are_scaled_and_the_scale_is_kept():
    scaler = timed_training.gradient_scaler(Device("cpu", "float16"))
    assert scaler.is_enabled()
    assert not timed_training.gradient_scaler(Device("cpu", "bfloat16")).is_enabled()
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    for loss, expected in (
        (weight.sum(), 1 - 0.1 / 3**0.5),
        (weight.sum() * 1e38, None),
    ):
        before = weight.detach().clone()
        timed_training.optimizer_step(
            optimizer,
            loss,
            learning_rate=0.1,
            workers=data_parallel.Workers(0, 1),
            scaler=scaler,
        )
        # A gradient that is infinite once scaled changes nothing but the scale.
        wanted = before if expected is None else torch.full((3,), expected)
        torch.testing.assert_close(weight.detach(), wanted)
    assert scaler.get_scale() == 2.0**15


@pytest.mark.parametrize(
    ("first", "present", "wanted", "expected"),
    [
        ("cpu", 0, 3, 3),
        ("mps", 0, 2, 1),
        ("cuda:0", 1, 2, 1),
        ("cuda:0", 4, 2, 2),
        ("cuda:1", 4, 8, 2),
        ("cuda:3", 4, 2, 1),
    ],
)
def test_each_process_has_an_accelerator_of_its_own(
    monkeypatch, first, present, wanted, expected
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: present)
    assert data_parallel.num_workers(wanted, 64, Device(first)) == expected


@pytest.mark.parametrize(
    ("first", "backend", "device"),
    [("cpu", "gloo", "cpu"), ("cuda:1", "nccl", "cuda:3")],
)
def test_processes_talk_by_nccl_on_cuda(monkeypatch, first, backend, device):
    asked, chosen = [], []
    distributed = types.SimpleNamespace(
        init_process_group=lambda name, **rest: asked.append((name, rest["rank"])),
        destroy_process_group=lambda: None,
    )
    monkeypatch.setattr(data_parallel, "distributed", distributed)
    monkeypatch.setattr(data_parallel, "follow_parent", lambda: None)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    threads = torch.get_num_threads()
    data_parallel._enter(
        2,
        4,
        "",
        None,
        None,
        0,
        Device(first),
        lambda workers: chosen.append(workers),
        (),
    )
    torch.set_num_threads(threads)
    assert asked == [(backend, 2)]
    assert chosen[-1].device == Device(device)
    assert chosen[:-1] == ([torch.device(device)] if backend == "nccl" else [])


def test_batches_reach_cuda_through_pinned_memory():
    done = []
    tensor = types.SimpleNamespace(
        pin_memory=lambda: done.append("pinned") or tensor,
        to=lambda place, **how: done.append((str(place), how)),
    )
    Device("cuda:1").take(tensor)
    assert done == ["pinned", ("cuda:1", {"non_blocking": True})]
    real = torch.ones(2)
    assert Device("cpu").take(real) is real


def test_records_of_the_default_are_empty():
    assert Device().record() == {}
    assert Device("cpu", "float16").record() == {"device": "cpu, float16"}
    assert Device("mps").record() == {"device": "mps, float32"}
