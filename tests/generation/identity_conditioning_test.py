"""Conditions of the diffusion: shapes, scale, and whose images they are made of."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from bridges.generation.identity_variation import vary_identity
from bridges.generators.latent_diffusion.identity_conditioning import (
    IdentityConditioning,
    index_identities,
    mean_of_others,
    perturbed,
)
from tests.generation import tiny_models


def test_shapes_and_scale():
    conditioning = IdentityConditioning(512, 4, 16)
    rows = torch.from_numpy(tiny_models.unit_rows(50, 512))
    tokens, scaled = conditioning(rows)
    assert tokens.shape == (50, 4, 16)
    assert scaled.shape == (50, 512)
    # Unit variance per entry: the squared norm is the number of entries.
    np.testing.assert_allclose(scaled.square().mean(1), 1, rtol=1e-5)


def test_zero_means_anyone():
    conditioning = IdentityConditioning(8, 2, 3)
    tokens, scaled = conditioning(torch.zeros(1, 8))
    assert not scaled.any()
    torch.testing.assert_close(tokens.flatten(), conditioning.project.bias)


@pytest.fixture
def identities():
    """Identities of 3, 1 and 4 images with embeddings that tell images apart."""
    labels = torch.tensor([5, 5, 5, 6, 9, 9, 9, 9])
    return torch.eye(8), index_identities(labels)


def test_index(identities):
    _, index = identities
    assert index.labels.tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
    for identity, expected in enumerate([[0, 1, 2], [3], [4, 5, 6, 7]]):
        members = index.members[identity][index.present[identity]]
        assert members.tolist() == expected


def test_a_condition_is_made_of_others_of_the_same_identity(identities):
    embeddings, index = identities
    generator = torch.Generator().manual_seed(0)
    seen = {}
    for _ in range(60):
        conditions = mean_of_others(embeddings, index, torch.arange(8), generator)
        for image, condition in enumerate(conditions):
            sources = tuple(condition.nonzero().flatten().tolist())
            expected = functional.normalize(embeddings[list(sources)].sum(0), dim=0)
            torch.testing.assert_close(condition, expected)
            seen.setdefault(image, set()).add(sources)
    assert seen[0] == {(1, 2)}, "one of two is not more than half"
    assert seen[3] == {(3,)}, "an image alone can only stand for itself"
    assert seen[4] == {(5, 6), (5, 7), (6, 7), (5, 6, 7)}


def test_conditions_are_perturbed_as_when_images_are_made():
    row = tiny_models.unit_rows(1, 512)[0]
    theirs = [
        vary_identity(row, beta=0.01, dataset_seed=0, identity=0, index=index) @ row
        for index in range(200)
    ]
    rows = torch.from_numpy(row).expand(200, -1)
    turned = perturbed(rows, 0.01, torch.Generator().manual_seed(0))
    torch.testing.assert_close(turned.norm(dim=1), torch.ones(200))
    ours = (turned * rows).sum(1)
    assert ours.mean().item() == pytest.approx(np.mean(theirs), abs=1e-3)
    torch.testing.assert_close(perturbed(rows, 0.0), rows)
