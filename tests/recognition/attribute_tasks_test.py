"""The losses of equation 10: masks, weights, mirror images, physical units."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from bridges.datasets.image_dataset import ImageDataset
from bridges.recognition import attribute_labels
from bridges.recognition.history import TrainingCounts
from bridges.recognition.state import init_training
from bridges.recognition.steps import step_generator, train_step
from bridges.recognition.task_settings import ATTRIBUTE_WEIGHTS
from bridges.recognition.task_weighting import total_loss
from bridges.recognition.tasks import TaskOutput
from bridges.recognition.training import train_recogniser
from tests.recognition.attributed_people import EXPRESSIONS, write_attributed
from tests.recognition.training_test import TINY

ALL = ("identity", "pose", "age", "expression", "gender")
CONFIG = dataclasses.replace(TINY, tasks=ALL, augmentation="none")


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> list[ImageDataset]:
    folder = tmp_path_factory.mktemp("people")
    write_attributed(folder / "dataset")
    return [ImageDataset(folder / "dataset")]


@pytest.fixture(scope="module")
def partly(tmp_path_factory) -> list[ImageDataset]:
    """A third of the images lack pose and age, a quarter the expression."""
    folder = tmp_path_factory.mktemp("partly")
    write_attributed(folder / "dataset", missing=True)
    return [ImageDataset(folder / "dataset")]


def batch_of(state, sources, rows=range(16)):
    """Images of rows in [-1, 1], what the backbone makes of them, and all targets."""
    rng = np.random.default_rng(1)
    images = torch.from_numpy(rng.integers(0, 256, (16, 3, 32, 32), np.uint8))
    rows = np.asarray(rows)
    targets = {
        name: torch.from_numpy(np.asarray(task.targets)[rows])
        for name, task in state.tasks.items()
    }
    x = images.float() / 127.5 - 1
    return images, state.backbone(x), targets


def outputs_of(state, features, targets):
    return {
        name: task.loss(features, None, targets[name], 0.5)
        for name, task in state.tasks.items()
    }


def randomise(state):
    """Heads start at zero; tests of gradients need others."""
    torch.manual_seed(3)
    for name in ALL[1:]:
        torch.nn.init.normal_(state.tasks[name].head.linear.weight, 0, 0.3)


class TestMasks:
    @pytest.mark.parametrize("rows", [range(16), range(0, 48, 3)])
    def test_losses_and_metrics_are_means_over_the_labelled_images(self, partly, rows):
        state = init_training(CONFIG, partly)
        randomise(state)
        _, features, targets = batch_of(state, partly, rows)
        out = outputs_of(state, features, targets)
        records = [partly[0].records[row] for row in rows]
        for task, fields in attribute_labels.NUMBERS.items():
            head = state.tasks[task].head
            made = head(features).detach().numpy()
            squares, absolute = [], {field: [] for field in fields}
            for i, record in enumerate(records):
                for j, field in enumerate(fields):
                    if field in record:
                        error = float(made[i, j]) - record[field]
                        squares.append((error / float(head.scale[j])) ** 2)
                        absolute[field].append(abs(error))
            expected = np.mean(squares) / 2 if squares else 0.0
            assert out[task].loss.item() == pytest.approx(expected, rel=1e-5)
            assert bool(out[task].labelled) == bool(squares)
            for field, metric in zip(fields, out[task].metrics.values(), strict=True):
                expected = np.mean(absolute[field]) if squares else math.nan
                assert metric.item() == pytest.approx(expected, rel=1e-5, nan_ok=True)
        logits = state.tasks["expression"].head.linear(features).detach().double()
        losses, right = [], []
        for row, record in zip(logits.numpy(), records, strict=True):
            if "expression" in record:
                code = EXPRESSIONS.index(record["expression"])
                losses.append(np.log(np.exp(row - row[code]).sum()))
                right.append(row.argmax() == code)
        assert out["expression"].loss.item() == pytest.approx(np.mean(losses), rel=1e-5)
        accuracy = out["expression"].metrics["accuracy"].item()
        assert accuracy == pytest.approx(np.mean(right))

    def test_a_batch_without_a_label_has_loss_0_and_gradients_of_0(self, sources):
        state = init_training(CONFIG, sources)
        randomise(state)
        _, features, targets = batch_of(state, sources)
        targets["pose"] = torch.full_like(targets["pose"], math.nan)
        targets["gender"] = torch.full_like(targets["gender"], -1)
        out = outputs_of(state, features, targets)
        for name in ("pose", "gender"):
            assert out[name].loss.item() == 0 and not out[name].labelled
            assert all(metric.isnan() for metric in out[name].metrics.values())
        (out["pose"].loss + out["gender"].loss).backward()
        for parameter in state.parameters().values():
            assert parameter.grad is None or not parameter.grad.any()

    def test_a_step_with_missing_labels_is_finite_everywhere(self, partly):
        state = init_training(
            dataclasses.replace(CONFIG, task_weighting="uncertainty"), partly
        )
        images, _, targets = batch_of(state, partly)
        train_step(
            state, images, targets, CONFIG, progress=0.1, generator=step_generator(0, 0)
        )
        assert all(p.isfinite().all() for p in state.parameters().values())

    def test_the_history_leaves_batches_that_say_nothing_out(self):
        counts = TrainingCounts()
        config = dataclasses.replace(TINY, batch_size=4, epochs=1.0)
        rows = [4.0, math.nan, 8.0], [2.0, 4.0, 6.0]
        for years, loss in zip(*rows, strict=True):
            counts.add({"age.years": years, "loss": loss}, 12, config)
        (row,) = counts.history
        assert (row["age.years"], row["loss"]) == (6.0, 4.0)
        assert not counts.sums and not counts.missing


class TestWeights:
    def gradient(self, sources, weights):
        config = dataclasses.replace(CONFIG, task_weights=weights)
        state = init_training(config, sources)
        randomise(state)
        _, features, targets = batch_of(state, sources)
        features.retain_grad()
        out = outputs_of(state, features, targets)
        total_loss(state.tasks, out).backward()
        return features.grad, state

    def test_gradients_are_linear_in_the_weights(self, sources):
        """Exactly: for powers of two, products do not round, and sums in order do."""
        silent = dict.fromkeys(ALL, 0)
        for task in ALL:
            one, _ = self.gradient(sources, silent | {task: 1})
            for factor in (0.25, 1024):
                scaled, _ = self.gradient(sources, silent | {task: factor})
                assert torch.equal(scaled, factor * one), (task, factor)
        factors = dict(zip(ALL, (1, 0.3, 0.7, 2.5, 0.1), strict=True))
        together, _ = self.gradient(sources, factors)
        apart = sum(
            factor * self.gradient(sources, silent | {task: 1})[0].double()
            for task, factor in factors.items()
        )
        torch.testing.assert_close(together.double(), apart, rtol=1e-4, atol=1e-6)

    def test_defaults_are_the_documented_ones(self, sources):
        state = init_training(CONFIG, sources)
        weights = {name: task.loss_weight for name, task in state.tasks.items()}
        assert weights == {"identity": 1.0, **ATTRIBUTE_WEIGHTS}
        # With these each attribute counts about 1 before it is trained.
        _, features, targets = batch_of(state, sources)
        losses = outputs_of(state, features, targets)
        assert losses["gender"].loss.item() == pytest.approx(math.log(2))
        assert losses["expression"].loss.item() == pytest.approx(math.log(3))

    @pytest.mark.parametrize("weighting", ["fixed", "uncertainty"])
    def test_weight_0_silences_a_task(self, sources, weighting):
        config = dataclasses.replace(
            CONFIG, task_weights={"pose": 0}, task_weighting=weighting
        )
        state = init_training(config, sources)
        randomise(state)
        images, _, targets = batch_of(state, sources)
        before = {k: v.clone() for k, v in state.tasks["pose"].state_dict().items()}
        age = state.tasks["age"].head.linear.weight.clone()
        for step in range(2):
            train_step(
                state,
                images,
                targets,
                config,
                progress=0.2,
                generator=step_generator(0, step),
            )
        assert all(p.grad is None for p in state.tasks["pose"].parameters())
        for name, value in state.tasks["pose"].state_dict().items():
            assert torch.equal(before[name], value), name
        assert not torch.equal(age, state.tasks["age"].head.linear.weight)
        assert "log_variance" not in before

    def test_a_silenced_task_changes_nothing(self, sources):
        def weights(config):
            state = init_training(config, sources)
            images, _, targets = batch_of(state, sources)
            train_step(
                state,
                images,
                targets,
                config,
                progress=0.2,
                generator=step_generator(0, 0),
            )
            return state.backbone.state_dict()

        without = weights(dataclasses.replace(CONFIG, tasks=("identity", "age")))
        silenced = weights(
            dataclasses.replace(
                CONFIG, tasks=("identity", "age", "gender"), task_weights={"gender": 0}
            )
        )
        for name, value in without.items():
            assert torch.equal(value, silenced[name]), name


class TestLearnedWeights:
    def test_they_are_trained_and_saved(self, sources):
        config = dataclasses.replace(
            CONFIG, tasks=("identity", "age"), task_weighting="uncertainty", epochs=0.5
        )
        state = init_training(config, sources)
        assert {"log_variance", "tasks.age.log_variance"} < {*state.parameters()}
        before = state.tasks["age"].log_variance.item()
        images, _, targets = batch_of(state, sources)
        train_step(
            state, images, targets, config, progress=0.2, generator=step_generator(0, 0)
        )
        assert state.tasks["age"].log_variance.item() != before


class TestMirrorImages:
    def test_yaw_and_roll_change_their_signs_where_an_image_was_mirrored(self, sources):
        task = init_training(CONFIG, sources).tasks["pose"]
        targets = torch.tensor([[10.0, 2, 3], [-20, math.nan, 4]])
        given = task.mirror_targets(targets, torch.tensor([True, False]))
        expected = torch.tensor([[-10.0, 2, -3], [-20, math.nan, 4]])
        torch.testing.assert_close(given, expected, equal_nan=True)

    def test_a_step_mirrors_targets_with_their_images(self, sources, monkeypatch):
        """What the pose task is given agrees with what its images show."""
        config = dataclasses.replace(CONFIG, augmentation="standard", tasks=("pose",))
        state = init_training(config, sources)
        task, seen = state.tasks["pose"], []

        def loss(features, images, targets, progress):
            seen.append((images, targets))
            return TaskOutput(features.sum() * 0, {})

        monkeypatch.setattr(task, "loss", loss)
        rows = np.arange(16)
        pixels = np.zeros((16, 3, 32, 32), np.uint8)
        pixels[:, :, :, 16:] = 200  # brighter at the right
        targets = torch.from_numpy(task.targets[rows])
        train_step(
            state,
            torch.from_numpy(pixels),
            {"pose": targets},
            config,
            progress=0.1,
            generator=step_generator(0, 0),
        )
        ((images, given),) = seen
        left, right = images[..., :14].mean((1, 2, 3)), images[..., 18:].mean((1, 2, 3))
        mirrored = left > right
        assert 0 < mirrored.sum() < 16
        signs = torch.where(mirrored, -1.0, 1.0)
        torch.testing.assert_close(given[:, 0], targets[:, 0] * signs)
        torch.testing.assert_close(given[:, 1], targets[:, 1])


class TestTraining:
    def test_errors_are_in_physical_units_and_fall(self, sources, tmp_path):
        """Half of the images are mirrored: yaw is learned where its sign goes along."""
        config = dataclasses.replace(
            TINY,
            tasks=("pose", "age", "gender"),
            embedding_size=32,
            batch_size=8,
            epochs=16.0,
            learning_rate=5e-3,
        )
        record = train_recogniser(sources[0], tmp_path / "c", config, num_threads=1)
        first, last = record["history"][0], record["history"][-1]
        yaws, ages = (
            np.array([each[name] for each in sources[0].records])
            for name in ("yaw", "age")
        )
        # At first what guessing the mean errs by, in degrees and in years.
        guess = np.abs(yaws - yaws.mean()).mean()
        assert first["pose.yaw_degrees"] == pytest.approx(guess, rel=0.4)
        assert last["pose.yaw_degrees"] < 0.7 * guess
        guess = np.abs(ages - ages.mean()).mean()
        assert first["age.years"] == pytest.approx(guess, rel=0.4)
        assert last["age.years"] < first["age.years"]
        assert last["gender.accuracy"] > 0.9
        assert record["settings"]["task_weights"] == {
            name: ATTRIBUTE_WEIGHTS[name] for name in config.tasks
        }
        assert json.loads((tmp_path / "c" / "training.json").read_text()) == record

    def test_missing_labels_are_announced(self, partly, tmp_path, capsys):
        config = dataclasses.replace(CONFIG, tasks=("age", "expression"), epochs=0.3)
        train_recogniser(partly[0], tmp_path / "c", config)
        said = capsys.readouterr().err
        name = partly[0].name
        assert f"{name}: 16 of 48 images have no age; the task age learns" in said
        assert f"{name}: 12 of 48 images have no expression; the task exp" in said

    def test_other_labels_are_other_data(self, sources, partly):
        config = dataclasses.replace(CONFIG, tasks=("identity", "gender"))
        one, two = (attribute_labels.fingerprint(s, config) for s in (sources, partly))
        assert one == two  # of gender alone, which both have
        config = dataclasses.replace(CONFIG, tasks=("identity", "age"))
        one, two = (attribute_labels.fingerprint(s, config) for s in (sources, partly))
        assert one != two
        assert attribute_labels.fingerprint(sources, TINY) == {}
