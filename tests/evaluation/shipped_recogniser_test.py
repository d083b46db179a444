"""Recogniser F as it ships, on people rendered for this test."""

import json
import re

import numpy as np
import pytest

from bridges.cli.train import FLAGS as TRAIN_FLAGS
from bridges.evaluation.verification import verify_checkpoint
from bridges.faces.verification_sets import render_verification_set
from bridges.recognisers.recogniser import load_recogniser

PAIRS = 60
# The first four numbers for a colour gradient, when the weights were shipped.
GRADIENT_EMBEDDING = [0.03214, -0.01028, 0.02777, -0.01942]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verification") / "mixed"
    # Another world than the one it was trained and measured on.
    render_verification_set("mixed", folder, num_pairs=PAIRS, image_size=64, seed=5)
    return folder


def test_it_tells_people_apart(mixed, tmp_path):
    metrics = verify_checkpoint("recogniser_f", mixed, tmp_path / "metrics.json")
    result = metrics["benchmarks"]["mixed"]
    assert result["num_pairs"] == PAIRS
    # 99 % of 600 pairs; four errors in 60 would be a different recogniser.
    assert result["accuracy"] > 0.94
    assert result["auc"] > 0.98
    assert result["cosine"]["same_mean"] > 0.5
    assert abs(result["cosine"]["different_mean"]) < 0.15


def test_its_card_names_the_file_that_ships(root):
    folder = root / "bridges" / "pretrained" / "recogniser_f"
    card = (folder / "README.md").read_text()
    recogniser = load_recogniser()
    assert recogniser.model["name"] == "recogniser_f"
    assert recogniser.model["sha256"] in card
    assert json.loads((folder / "config.json").read_text())["image_size"] == 64
    assert recogniser.embedding_size == 512
    # The command on the card is one that the program still understands.
    command = re.search(r"^hyperface-train (.*)$", card, re.MULTILINE).group(1)
    for flag in re.findall(r"--(\w+)", command):
        assert flag in TRAIN_FLAGS


def test_its_answer_is_the_same_everywhere():
    """Fixed input, fixed answer: the weights and the scaling of pixels are right."""
    y, x = np.mgrid[:64, :64] / 64
    pixels = np.stack([x, y, (x + y) / 2], axis=2) * 255
    (embedding,) = load_recogniser().embed(pixels.astype(np.uint8)[None])
    np.testing.assert_allclose(embedding[:4], GRADIENT_EMBEDDING, atol=2e-4)
