"""Training: contracts, refusals, steps, and that it learns."""

import dataclasses
import json
import math
import pathlib
import shutil

import numpy as np
import pytest
import torch

from bridges.datasets.image_dataset import ImageDataset, ImageDatasetWriter
from bridges.recognisers.recogniser import load_recogniser, perceptual
from bridges.recognition import training
from bridges.recognition.config import RECIPES, TrainingConfig
from bridges.recognition.head_options import AdaFaceOptions
from bridges.recognition.history import TrainingCounts
from bridges.recognition.image_order import ImageOrder
from bridges.recognition.state import init_training
from bridges.recognition.steps import (
    learning_rate_at,
    num_steps,
    step_generator,
    train_step,
)
from bridges.recognition.training import train_recogniser
from hyperface_jax import InputError

TINY = TrainingConfig(image_size=32, embedding_size=16, batch_size=16, epochs=3)


def write_people(folder: pathlib.Path, identities: int = 6, images: int = 8) -> None:
    """Each identity is a colour gradient of its own under noise."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(-1, 1, 32)[:, None, None]
    with ImageDatasetWriter(folder, settings={}, kind="rendered") as writer:
        for identity in range(identities):
            slope, level = rng.normal(size=(2, 1, 1, 3)) * 60
            for index in range(images):
                noise = rng.normal(size=(32, 32, 3)) * 10
                pixels = 127.5 + ramp * slope + level + noise
                record = {"identity": identity, "index": index, "seed": 0}
                writer.write(pixels.clip(0, 255).astype(np.uint8), record)
        writer.finish()


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("people")
    write_people(folder / "dataset")
    return folder / "dataset"


@pytest.fixture(scope="module")
def trained(people, tmp_path_factory) -> pathlib.Path:
    output = tmp_path_factory.mktemp("trained") / "checkpoint"
    config = dataclasses.replace(TINY, epochs=12.0, augmentation="none")
    train_recogniser(people, output, config, num_threads=1)
    return output


class TestOutput:
    def test_files_are_the_contract(self, trained, people):
        assert sorted(path.name for path in trained.iterdir()) == [
            "config.json",
            "log.jsonl",
            "model.safetensors",
            "training.json",
        ]
        config = json.loads((trained / "config.json").read_text())
        assert config == {
            "format_version": 1,
            "backbone": "iresnet_small",
            "image_size": 32,
            "embedding_size": 16,
        }
        record = json.loads((trained / "training.json").read_text())
        assert record["complete"] is True
        assert record["data"]["images"] == 48 and record["data"]["identities"] == 6
        assert record["settings"]["epochs"] == 12.0
        assert [row["epoch"] for row in record["history"]] == list(range(1, 13))
        assert record["history"][-1]["step"] == 36

    @pytest.mark.parametrize(("images", "batch"), [(48, 16), (110, 100), (49, 5)])
    def test_an_epoch_ends_at_the_step_that_completes_it(self, images, batch):
        config = dataclasses.replace(TINY, epochs=30.0, batch_size=batch)
        counts = TrainingCounts()
        for _ in range(num_steps(images, config)):
            counts.add({"loss": 2.0}, images, config)
        ends = [-(-epoch * images // batch) for epoch in range(1, 31)]
        assert [row["step"] for row in counts.history] == ends
        assert [row["epoch"] for row in counts.history] == list(range(1, 31))
        assert all(row["loss"] == 2.0 for row in counts.history)

    def test_it_learns_to_tell_people_apart(self, trained, people):
        record = json.loads((trained / "training.json").read_text())
        assert record["history"][-1]["accuracy"] > 0.9
        embeddings = load_recogniser(trained).embed(ImageDataset(people).load())
        cosines = embeddings @ embeddings.T
        same = np.equal.outer(np.arange(48) // 8, np.arange(48) // 8)
        assert cosines[same].mean() > cosines[~same].mean() + 0.5

    def test_finished_training_is_returned_at_once(self, trained, people):
        before = (trained / "model.safetensors").stat().st_mtime_ns
        config = dataclasses.replace(TINY, epochs=12.0, augmentation="none")
        record = train_recogniser(people, trained, config)
        assert record["complete"]
        assert (trained / "model.safetensors").stat().st_mtime_ns == before

    def test_what_another_process_finished_meanwhile_stays(
        self, people, tmp_path, monkeypatch
    ):
        read, weights = training.ImageBatches, tmp_path / "checkpoint"
        weights /= "model.safetensors"
        finished = []

        def read_slowly(*arguments, **settings):
            monkeypatch.setattr(training, "ImageBatches", read)
            train_recogniser(people, tmp_path / "checkpoint", TINY)
            finished.append(weights.stat().st_mtime_ns)
            return read(*arguments, **settings)

        monkeypatch.setattr(training, "ImageBatches", read_slowly)
        record = train_recogniser(people, tmp_path / "checkpoint", TINY)
        assert record["complete"]
        assert finished == [weights.stat().st_mtime_ns]

    def test_several_folders_are_different_people(self, people, tmp_path):
        config = dataclasses.replace(TINY, epochs=0.1)
        shutil.copytree(people, tmp_path / "others")
        record = train_recogniser([people, tmp_path / "others"], tmp_path / "c", config)
        assert record["data"]["identities"] == 12 and record["data"]["images"] == 96
        with pytest.raises(InputError, match="given twice"):
            train_recogniser([people, people], tmp_path / "d", config)


class TestRefusals:
    def test_other_settings(self, trained, people):
        with pytest.raises(InputError, match=r"epochs = 12\.0, asked for 3"):
            train_recogniser(
                people, trained, dataclasses.replace(TINY, augmentation="none")
            )

    def test_other_images(self, trained, tmp_path):
        write_people(tmp_path / "others", identities=5)
        config = dataclasses.replace(TINY, epochs=12.0, augmentation="none")
        with pytest.raises(InputError, match="made with other fingerprint"):
            train_recogniser(tmp_path / "others", trained, config)

    def test_foreign_output(self, people, tmp_path):
        (tmp_path / "thesis.txt").write_text("chapter 1")
        with pytest.raises(InputError, match=r"thesis\.txt"):
            train_recogniser(people, tmp_path, TINY)
        with pytest.raises(InputError, match="is a file"):
            train_recogniser(people, tmp_path / "thesis.txt", TINY)

    def test_too_little_data(self, people, tmp_path):
        config = dataclasses.replace(TINY, batch_size=64)
        with pytest.raises(InputError, match="48 images, fewer than batch_size 64"):
            train_recogniser(people, tmp_path / "c", config)
        write_people(tmp_path / "one", identities=1, images=20)
        with pytest.raises(InputError, match="one identity only"):
            train_recogniser(tmp_path / "one", tmp_path / "c", TINY)
        images = people / "images" / "000000"
        with pytest.raises(InputError, match="nothing says who"):
            train_recogniser(images, tmp_path / "c", TINY)
        assert not (tmp_path / "c").exists()

    def test_an_unreadable_image_leaves_no_output(self, people, tmp_path):
        write_people(tmp_path / "people")
        damaged = ImageDataset(tmp_path / "people").paths[-1]
        damaged.write_bytes(b"no image")
        with pytest.raises(InputError, match=damaged.name):
            train_recogniser(tmp_path / "people", tmp_path / "c", TINY)
        assert not (tmp_path / "c").exists()

    @pytest.mark.parametrize(
        "option",
        [
            {"num_threads": 0},
            {"checkpoint_minutes": float("nan")},
            {"cache_mb": -1},
            {"num_processes": 0},
            {"device": "gpu"},
            {"precision": "int8"},
        ],
    )
    def test_resources_out_of_range(self, people, tmp_path, option):
        with pytest.raises(InputError, match=next(iter(option))):
            train_recogniser(people, tmp_path / "c", TINY, **option)
        assert not (tmp_path / "c").exists()

    def test_diverging_loss(self, people, tmp_path):
        config = dataclasses.replace(
            TINY, optimizer="sgd", learning_rate=1e3, gradient_clip=0, weight_decay=10
        )
        # Which of the two overflows first differs by processor.
        what = r"(task identity is|norm of the gradient is) (nan|inf).*"
        with pytest.raises(InputError, match=what + "lower learning_rate"):
            train_recogniser(people, tmp_path / "c", config)
        assert not (tmp_path / "c" / "model.safetensors").exists()

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"backbone": "vgg"}, "backbone is 'vgg'"),
            ({"head": "triplet"}, "adaface"),
            ({"optimizer": "lion"}, "adamw, sgd"),
            ({"epochs": 0}, "epochs is 0"),
            ({"epochs": math.nan}, "epochs is nan"),
            ({"batch_size": 1}, "batch_size is 1"),
            ({"learning_rate": -1.0}, "learning_rate is -1"),
            ({"image_size": 100}, "multiple of 16"),
            ({"milestones": (0.9, 0.1)}, "milestones"),
            ({"milestones": (2.0,)}, "milestones"),
            ({"tasks": ()}, "expected a list of identity"),
            ({"tasks": "identity"}, "expected a list of identity"),
            ({"tasks": ("height",)}, "task is 'height'"),
            ({"tasks": ("identity", "identity")}, "each of them once"),
            ({"head_options": object()}, "takes AdaFaceOptions"),
        ],
    )
    def test_settings_out_of_range(self, change, reason):
        with pytest.raises(InputError, match=reason):
            TrainingConfig(**change)

    @pytest.mark.parametrize(
        "change", [{"margin": 1.6}, {"scale": 0}, {"margin_warmup": -1}]
    )
    def test_options_of_the_head_out_of_range(self, change):
        with pytest.raises(InputError, match=next(iter(change))):
            AdaFaceOptions(**change)


def test_recorded_settings_are_flat():
    """Equal to those of trainings made before heads had options of their own."""
    settings = RECIPES["paper"].settings()
    assert settings == {
        "backbone": "iresnet50",
        "image_size": 112,
        "embedding_size": 512,
        "head": "adaface",
        "margin": 0.4,
        "scale": 64.0,
        "concentration": 0.333,
        "warm_start": False,
        "margin_warmup": 0.0,
        "epochs": 30.0,
        "batch_size": 256,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "weight_decay": 5e-4,
        "schedule": "multi_step",
        "warmup": 0.0,
        "milestones": [12 / 26, 20 / 26, 24 / 26],
        "gradient_clip": 0.0,
        "augmentation": "standard",
        "seed": 0,
    }
    assert json.loads(json.dumps(settings)) == settings


class People:
    """A source of four people without images."""

    identities = range(4)
    labels = np.arange(16) % 4


class TestSteps:
    def test_every_image_comes_once_an_epoch(self):
        order = ImageOrder([20, 30], seed=3)
        seen = np.concatenate([order.batch(step, 16) for step in range(25)])
        assert len(seen) == 400
        for epoch in range(8):
            assert sorted(seen[50 * epoch : 50 * epoch + 50]) == list(range(50))
        assert not np.array_equal(seen[:50], seen[50:100])
        assert not np.array_equal(seen[:16], ImageOrder([50], 4).batch(0, 16))

    def test_number_of_steps(self):
        config = TrainingConfig(epochs=2.5, batch_size=16)
        assert num_steps(50, config) == 8  # 125 images in 16s

    def test_one_cycle(self):
        config = TrainingConfig(learning_rate=1.0, warmup=0.1)
        assert learning_rate_at(0.0, config) == pytest.approx(0.02)
        assert learning_rate_at(0.05, config) == pytest.approx(0.51)
        assert learning_rate_at(0.1, config) == pytest.approx(1.0)
        assert learning_rate_at(0.55, config) == pytest.approx(0.5)
        assert learning_rate_at(1.0, config) == pytest.approx(0.0, abs=1e-12)

    def test_paper_schedule_is_adafaces(self):
        config = RECIPES["paper"]
        rates = [
            learning_rate_at(epoch / 26, config) for epoch in (0, 11, 13, 19, 21, 25)
        ]
        np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-4])

    def test_weight_decay_spares_vectors(self):
        state = init_training(TINY, [People])
        decayed, spared = state.optimizer.param_groups
        assert decayed["weight_decay"] == TINY.weight_decay
        assert spared["weight_decay"] == 0
        assert all(p.ndim > 1 for p in decayed["params"])
        assert all(p.ndim == 1 for p in spared["params"])
        kernel = state.tasks["identity"].head.kernel
        assert any(p is kernel for p in decayed["params"])

    def test_step_is_the_optimisers_update(self):
        # SGD without momentum yet: the first step is -lr (gradient + decay * weight).
        config = dataclasses.replace(
            TINY,
            optimizer="sgd",
            schedule="multi_step",
            warmup=0.0,
            gradient_clip=0.0,
            learning_rate=0.01,
            weight_decay=0.1,
            augmentation="none",
        )
        state = init_training(config, [People])
        twin = init_training(config, [People])
        images = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
        labels = torch.arange(16) % 4
        out = train_step(
            state,
            images,
            {"identity": labels},
            config,
            progress=0.5,
            generator=step_generator(0, 0),
        )
        loss, head = out.loss.item(), twin.tasks["identity"].head
        out = head(twin.backbone(images / 127.5 - 1), labels)
        expected = torch.nn.functional.cross_entropy(out.logits, labels)
        assert loss == pytest.approx(expected.item(), rel=1e-4)
        expected.backward()
        kernel = head.kernel
        moved = kernel.detach() - 1e-3 * (kernel.grad + 0.1 * kernel.detach())
        torch.testing.assert_close(
            state.tasks["identity"].head.kernel.detach(), moved, rtol=1e-4, atol=1e-6
        )

    def test_init_is_a_function_of_the_seed_alone(self):
        def kernel(state):
            return state.tasks["identity"].head.kernel

        one, two = init_training(TINY, [People]), init_training(TINY, [People])
        assert torch.equal(one.backbone.fc.weight, two.backbone.fc.weight)
        assert torch.equal(kernel(one), kernel(two))
        torch.manual_seed(1)
        before = torch.random.get_rng_state()
        other = init_training(dataclasses.replace(TINY, seed=1), [People])
        assert torch.equal(torch.random.get_rng_state(), before)
        assert not torch.equal(kernel(one), kernel(other))


def test_a_backbone_of_adafaces_is_trained_and_used(people, tmp_path):
    config = dataclasses.replace(TINY, backbone="ir_18", epochs=2.0)
    train_recogniser(people, tmp_path / "ir", config)
    history = json.loads((tmp_path / "ir/training.json").read_text())["history"]
    assert history[-1]["loss"] < history[0]["loss"]
    recogniser = load_recogniser(tmp_path / "ir", device="cpu")
    rows = recogniser.embed(ImageDataset(people).load())
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    with pytest.raises(InputError, match="has no feature maps"):
        perceptual(recogniser)
