"""People held out: who, how they are scored, and which weights are kept."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn import metrics

from bridges.datasets.image_dataset import ImageDataset
from bridges.recognition import loop, training
from bridges.recognition.state import init_training, weights_to_keep
from bridges.recognition.training import train_recogniser
from bridges.recognition.validation import Score, Validation, score_of, split_people
from hyperface_jax import InputError
from tests.recognition.plain_source import Plain
from tests.recognition.training_test import TINY, write_people

CONFIG = dataclasses.replace(TINY, epochs=4.0, validation_share=0.4, batch_size=8)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "dataset"
    write_people(folder, identities=8)
    return folder


def names(sources):
    return {r["file_name"] for source in sources for r in source.records}


class TestSplit:
    def test_no_person_is_on_both_sides_and_no_image_is_lost(self, people):
        source = ImageDataset(people)
        training, validation = split_people([source], 0.4, seed=0)
        assert len(validation[0].identities) == 3
        assert len(training[0].identities) == 5
        assert not set(training[0].identities) & set(validation[0].identities)
        assert names(training) | names(validation) == names([source])

    def test_the_seed_chooses(self, people):
        source = ImageDataset(people)

        def chosen(seed):
            return tuple(split_people([source], 0.4, seed)[1][0].identities)

        assert chosen(1) == chosen(1)
        assert len({chosen(seed) for seed in range(8)}) > 1

    def test_every_source_keeps_somebody_to_train_on(self):
        sources = [Plain(0, 40), Plain(1, 8)]
        for seed in range(10):
            training, _ = split_people(sources, 0.8, seed)
            assert [source.name for source in training] == ["plain 0", "plain 1"]

    @pytest.mark.parametrize("share", [0.01, 0.9])
    def test_too_few_people(self, share):
        with pytest.raises(InputError, match="at least 2 are needed"):
            split_people([Plain(0, 16)], share, 0)


class TestScore:
    @pytest.mark.parametrize("seed", range(5))
    def test_equals_every_threshold_tried_and_scikit_learn(self, seed):
        random = np.random.default_rng(seed)
        same = random.random(60) < 0.4
        # Few values, so that there are ties.
        cosines = np.round(random.normal(size=60) + same, 1)
        tried = [np.mean((cosines > t) == same) for t in np.unique(cosines) - 0.05]
        tried.append(np.mean(~same))
        found = score_of(cosines, same)
        assert found.accuracy == pytest.approx(max(tried))
        assert found.auc == pytest.approx(metrics.roc_auc_score(same, cosines))

    def test_pairs_are_of_both_kinds_and_rightly_labelled(self, people):
        source = ImageDataset(people)
        validation = Validation([source], 32, seed=0)
        first, second = validation.pairs.T
        assert (first != second).all()
        np.testing.assert_array_equal(
            source.labels[first] == source.labels[second], validation.same
        )
        assert validation.same.sum() == 8 * (8 * 7 // 2) == (~validation.same).sum()
        assert len({tuple(sorted(pair)) for pair in validation.pairs}) > 400

    def test_measures_the_network_in_evaluation_mode(self, people):
        state = init_training(TINY, [ImageDataset(people)])
        state.backbone.train()
        validation = Validation([ImageDataset(people)], 32, seed=0)
        before = {k: v.clone() for k, v in state.backbone.state_dict().items()}
        score = validation.measure(state)
        assert state.backbone.training
        for name, value in state.backbone.state_dict().items():
            assert torch.equal(value, before[name]), name
        images = torch.from_numpy(ImageDataset(people).load()).permute(0, 3, 1, 2)
        with torch.inference_mode():
            network = state.backbone.eval()
            x = images / 127.5 - 1
            rows = torch.nn.functional.normalize(network(x) + network(x.flip(3)))
        first, second = validation.pairs.T
        cosines = (rows[first] * rows[second]).sum(1).numpy()
        assert score.auc == pytest.approx(
            metrics.roc_auc_score(validation.same, cosines), abs=1e-3
        )

    @pytest.mark.parametrize("cache_mb", [0, 100])
    def test_pairs_with_an_image_that_cannot_be_read_do_not_count(self, cache_mb):
        source = Plain(0, 24, unreadable=5)
        settings = {"cache_mb": cache_mb, "num_processes": 1, "skip_unreadable": True}
        validation = Validation([source], 32, seed=0, **settings)
        state = init_training(TINY, [source])
        score = validation.measure(state)
        ((path, reason),) = validation.skipped.items()
        assert path.endswith("5.png") and path not in reason
        kept = (validation.pairs != 5).all(1)
        assert not kept.all()
        with torch.inference_mode():
            network = state.backbone.eval()
            colours = torch.tensor([[0.0, float(i), 0.0] for i in range(24)])
            x = (colours / 127.5 - 1)[:, :, None, None].expand(-1, -1, 32, 32)
            rows = torch.nn.functional.normalize(network(x)).double()
        first, second = validation.pairs[kept].T
        cosines = (rows[first] * rows[second]).sum(1).numpy()
        assert score.auc == pytest.approx(
            metrics.roc_auc_score(validation.same[kept], cosines), abs=0.01
        )


class TestTraining:
    def test_the_weights_of_the_best_epoch_are_kept(
        self, people, tmp_path, monkeypatch
    ):
        """Scores are given here, so that the best is neither the first nor the last."""
        given = iter([Score(0.7, 0.7), Score(0.9, 0.8), Score(0.9, 0.8), Score(0.6, 1)])
        states = []

        def measure(validation, state):
            states.append(state.backbone.state_dict()["fc.weight"].clone())
            score = next(given)
            if validation.best is None or score > validation.best:
                validation.best = score
                validation.weights = weights_to_keep(state)
            return score

        with monkeypatch.context() as patch:
            patch.setattr(Validation, "measure", measure)
            record = train_recogniser(people, tmp_path / "c", CONFIG, num_threads=1)
        kept = load_file(tmp_path / "c/model.safetensors")["fc.weight"]
        assert torch.equal(kept, states[1])
        assert record["validation"] == {
            "identities": 3,
            "images": 24,
            "pairs": 168,
            "kept_epoch": 2,
            "validation_accuracy": 0.9,
            "validation_auc": 0.8,
        }

    def test_killed_after_its_best_epoch_it_still_keeps_that(
        self, people, tmp_path, monkeypatch
    ):
        whole = train_recogniser(people, tmp_path / "whole", CONFIG, num_threads=1)
        train_step, steps = loop.train_step, []

        def fail(*arguments, **settings):
            steps.append(1)
            if len(steps) == 17:
                raise OSError("the disk is gone")
            return train_step(*arguments, **settings)

        with monkeypatch.context() as patch, pytest.raises(OSError, match="disk"):
            patch.setattr(loop, "train_step", fail)
            train_recogniser(
                people, tmp_path / "c", CONFIG, num_threads=1, checkpoint_minutes=0
            )
        record = train_recogniser(people, tmp_path / "c", CONFIG, num_threads=1)
        assert record["validation"] == whole["validation"]
        one, two = (
            load_file(tmp_path / name / "model.safetensors") for name in ("c", "whole")
        )
        assert all(torch.equal(one[name], two[name]) for name in two)

    def test_all_that_is_kept_in_memory_is_as_large_as_stated(self, people):
        size = 32 * 32 * 3 / 2**20
        whole = training._prepare(
            [ImageDataset(people)], CONFIG, {"cache_mb": 64 * size}
        )
        assert whole.images.cache is not None
        parts = training._prepare(
            [ImageDataset(people)], CONFIG, {"cache_mb": 63 * size}
        )
        assert parts.validation.images.cache is not None
        assert parts.images.cache is None

    def test_the_curve_is_drawn_where_there_is_one(self, people, tmp_path):
        one_epoch = dataclasses.replace(CONFIG, epochs=1.0)
        train_recogniser(people, tmp_path / "c", one_epoch, num_threads=1)
        with Image.open(tmp_path / "c/training.png") as picture:
            pixels = np.asarray(picture.convert("RGB"))
        blue = (pixels == (31, 119, 180)).all(2)  # matplotlib's C0
        assert blue.any() and pixels.shape[1] > 900

    def test_held_out_people_are_not_trained_on(self, people, tmp_path):
        record = train_recogniser(people, tmp_path / "c", CONFIG, num_threads=1)
        saved = json.loads((tmp_path / "c/training.json").read_text())
        assert saved["history"][-1]["step"] == 4 * 40 // 8
        assert all(0.5 <= row["validation_accuracy"] <= 1 for row in record["history"])
