"""Steps: batches in pieces, schedules, and the recipes they are for."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from bridges.recognition import steps
from bridges.recognition.config import RECIPES, TrainingConfig
from bridges.recognition.loop import part_of
from bridges.recognition.state import init_training
from bridges.recognition.steps import learning_rate_at, step_generator, train_step
from bridges.training.data_parallel import Workers
from hyperface_jax import InputError

CONFIG = TrainingConfig(
    image_size=32,
    embedding_size=16,
    batch_size=12,
    optimizer="sgd",
    head="cosface",
    augmentation="strong",
    learning_rate=0.05,
)


class People:
    """Four people without images."""

    identities = range(4)
    labels = np.arange(16) % 4


def without_batch_norm(config):
    """A state whose backbone sees each image by itself: pieces are then a sum."""
    state = init_training(config, [People])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 16))
    parameters = [*network.parameters(), *state.tasks["identity"].parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
    return state._replace(backbone=network, forward=network, optimizer=optimizer)


def train(state, config, steps=3):
    images = torch.randint(
        0,
        256,
        (12, 3, 32, 32),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(0),
    )
    return [
        train_step(
            state,
            images,
            {"identity": torch.arange(12) % 4},
            config,
            progress=0.5,
            generator=step_generator(0, step),
        )
        for step in range(steps)
    ]


@pytest.mark.parametrize("pieces", [2, 3, 6])
def test_a_batch_in_pieces_takes_the_same_steps(pieces):
    whole, parts = without_batch_norm(CONFIG), without_batch_norm(CONFIG)
    config = dataclasses.replace(CONFIG, accumulation=pieces)
    expected, found = train(whole, CONFIG), train(parts, config)
    for name, parameter in whole.parameters().items():
        torch.testing.assert_close(
            parts.parameters()[name], parameter, rtol=1e-4, atol=1e-6
        )
    for one, two in zip(expected, found, strict=True):
        assert two.loss.item() == pytest.approx(one.loss.item(), rel=1e-4)
        norm = one.diagnostics["gradient_norm"].item()
        assert two.diagnostics["gradient_norm"].item() == pytest.approx(norm, rel=1e-3)
        accuracy = one.tasks["identity"].metrics["accuracy"].item()
        assert two.tasks["identity"].metrics["accuracy"].item() == pytest.approx(
            accuracy
        )


@pytest.mark.parametrize(("count", "pieces"), [(1, 1), (2, 1), (1, 3), (2, 3), (4, 2)])
def test_a_piece_is_of_the_same_images_however_many_share_it(count, pieces):
    batch = np.random.default_rng(0).permutation(24)
    found = [[] for _ in range(pieces)]
    for rank in range(count):
        workers = Workers(rank, count)
        mine = part_of(batch, pieces, workers)
        parts = steps._pieces(len(mine), pieces, step_generator(0, 0), workers)
        for images, piece in zip(found, parts, strict=True):
            assert piece.part.total == 24
            for i, row in enumerate(mine[piece.rows]):
                assert batch[piece.part.first + i] == row
                images.append(row)
    expected = batch.reshape(pieces, -1)
    np.testing.assert_array_equal(np.sort(found), np.sort(expected))


def test_the_norm_is_that_before_clipping():
    state = without_batch_norm(CONFIG)
    config = dataclasses.replace(CONFIG, gradient_clip=1e-3)
    (out,) = train(state, config, steps=1)
    clipped = torch.cat([p.grad.flatten() for p in state.parameters().values()])
    assert clipped.norm().item() == pytest.approx(1e-3, rel=1e-3)
    assert out.diagnostics["gradient_norm"].item() > 0.1


def test_dropout_is_drawn_by_the_step():
    """So that a training that was resumed, in a fresh process, is the same one."""
    config = dataclasses.replace(CONFIG, accumulation=2)

    def trained(seed):
        state = without_batch_norm(config)
        network = nn.Sequential(state.backbone, nn.Dropout(0.5))
        state = state._replace(backbone=network, forward=network)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            before = torch.random.get_rng_state()
            (out,) = train(state, config, steps=1)
            assert torch.equal(torch.random.get_rng_state(), before)
        return out.loss.item()

    assert trained(1) == trained(2)
    plain = without_batch_norm(config)
    assert trained(1) != train(plain, config, steps=1)[0].loss.item()


def test_compiled_kernels_are_asked_of_torch(monkeypatch):
    """What torch makes of it takes a compiler and a minute; here it hands back."""
    asked = []
    monkeypatch.setattr(torch, "compile", lambda m: asked.append(m) or m)
    state = init_training(CONFIG, [People], compiled=True)
    assert asked == [state.backbone] and state.forward is state.backbone
    init_training(CONFIG, [People])
    assert len(asked) == 1


def test_polynomial_schedule_is_the_square_of_what_is_left():
    config = TrainingConfig(learning_rate=2.0, schedule="polynomial", warmup=0.2)
    rates = [learning_rate_at(p, config) for p in (0.2, 0.4, 0.6, 1.0)]
    np.testing.assert_allclose(rates, [2, 2 * 0.75**2, 2 * 0.5**2, 0], atol=1e-12)


def test_recipes_are_those_of_their_authors():
    adaface, insightface = (RECIPES[n].settings() for n in ("adaface", "insightface"))
    shared = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 5e-4}
    assert (
        adaface.items() >= (shared | {"backbone": "ir_50", "batch_size": 512}).items()
    )
    assert adaface.items() >= {"epochs": 26.0, "scale": 64.0, "margin": 0.4}.items()
    # Epochs 12, 20 and 24.
    rates = [learning_rate_at(e / 26, RECIPES["adaface"]) for e in (11, 12, 20, 24)]
    np.testing.assert_allclose(rates, [0.1, 0.01, 1e-3, 1e-4])
    assert insightface.items() >= (shared | {"backbone": "iresnet50"}).items()
    assert insightface.items() >= {"head": "arcface", "margin": 0.5}.items()
    assert insightface["batch_size"] == 8 * 128


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"accumulation": 5}, "accumulation 5 does not divide batch_size 12"),
        ({"accumulation": 12}, "one image of batch_size 12 in a piece"),
        ({"class_share": 0.0}, "class_share is 0.0"),
        ({"validation_share": 1.0}, "validation_share is 1.0"),
        ({"dataset_weights": (1.0, 0.0)}, "not all above 0"),
        ({"dataset_weights": "x"}, "expected numbers above 0"),
    ],
)
def test_settings_out_of_range(change, reason):
    with pytest.raises(InputError, match=reason):
        dataclasses.replace(CONFIG, **change)
