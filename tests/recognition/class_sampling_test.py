"""Sampled classes: which, and that only they move."""

import dataclasses

import numpy as np
import pytest
import torch

from bridges.recognition.config import TrainingConfig
from bridges.recognition.state import init_training
from bridges.recognition.steps import step_generator, train_step
from hyperface_jax import InputError

CONFIG = TrainingConfig(
    image_size=32,
    embedding_size=16,
    batch_size=4,
    class_share=0.25,
    augmentation="none",
    learning_rate=0.01,
)


class People:
    """Forty people without images."""

    identities = range(40)
    labels = np.arange(80) % 40


def train(state, config, labels, step):
    generator = torch.Generator().manual_seed(step)
    size = (len(labels), 3, 32, 32)
    images = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    return train_step(
        state,
        images,
        {"identity": torch.tensor(labels)},
        config,
        progress=0.5,
        generator=step_generator(config.seed, step),
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_only_the_chosen_classes_move(optimizer):
    config = dataclasses.replace(CONFIG, optimizer=optimizer)
    state = init_training(config, [People])
    sampling = state.tasks["identity"].sampling
    for step, labels in enumerate([[39, 0, 7, 7], [1, 2, 3, 4], [39, 8, 0, 5]]):
        before = sampling.kernel.clone()
        train(state, config, labels, step)
        assert len(sampling.chosen) == 10 and set(labels) <= set(
            sampling.chosen.tolist()
        )
        moved = (sampling.kernel != before).any(0)
        assert torch.equal(moved.nonzero()[:, 0], sampling.chosen)
        assert state.tasks["identity"].head.kernel.shape == (16, 10)


def test_the_loss_is_that_of_the_chosen_columns():
    state = init_training(CONFIG, [People])
    whole = init_training(dataclasses.replace(CONFIG, class_share=1.0), [People])
    labels = [3, 30, 12, 3]
    found = train(state, CONFIG, labels, 0).loss
    chosen = state.tasks["identity"].sampling.chosen
    head = whole.tasks["identity"].head
    images = torch.randint(
        0,
        256,
        (4, 3, 32, 32),
        generator=torch.Generator().manual_seed(0),
        dtype=torch.uint8,
    )
    with torch.no_grad():
        out = head(whole.backbone(images / 127.5 - 1), torch.tensor(labels), 0.5)
    logits = out.logits[:, chosen]
    targets = torch.searchsorted(chosen, torch.tensor(labels))
    expected = torch.nn.functional.cross_entropy(logits, targets)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_all_classes_chosen_is_no_sampling(optimizer):
    every = dataclasses.replace(CONFIG, optimizer=optimizer, class_share=1 - 1e-6)
    plain = dataclasses.replace(every, class_share=1.0)
    one, two = init_training(every, [People]), init_training(plain, [People])
    for step in range(4):
        labels = [step, 2 * step, 3 * step, 39]
        train(one, every, labels, step), train(two, plain, labels, step)
    sampled, whole = (state.tasks["identity"] for state in (one, two))
    assert sampled.sampling.num_chosen == 40
    torch.testing.assert_close(sampled.sampling.kernel, whole.head.kernel.detach())
    momentum = {"sgd": "momentum_buffer", "adamw": "exp_avg"}[optimizer]
    torch.testing.assert_close(
        getattr(sampled.sampling, f"kernel_{momentum}"),
        two.optimizer.state[whole.head.kernel][momentum],
    )


def test_a_batch_may_not_have_more_classes_than_are_chosen():
    with pytest.raises(InputError, match=r"2 classes, fewer than the 4 images"):
        init_training(dataclasses.replace(CONFIG, class_share=0.05), [People])
