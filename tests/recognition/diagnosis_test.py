"""What a training says of itself: where it fails, where nothing is learned, its log."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from bridges.datasets.image_dataset import ImageDataset
from bridges.recognition.config import TrainingConfig
from bridges.recognition.diagnosis import Watch
from bridges.recognition.steps import mean_cosine
from bridges.recognition.training import train_recogniser
from bridges.recognition.training_log import TrainingLog
from hyperface_jax import InputError
from tests.recognition.training_test import TINY, write_people


@pytest.fixture
def watch(tmp_path):
    return Watch(TrainingConfig(gradient_clip=0), 100, tmp_path)


class TestNotFinite:
    def test_names_step_norm_and_remedy(self, watch):
        watch.look({"loss": 9.0, "gradient_norm": 4e5}, 6, 0.1)
        with pytest.raises(InputError) as raised:
            watch.look({"loss": math.nan, "gradient_norm": math.nan}, 7, 0.1)
        message = str(raised.value)
        for part in ("identity is nan", "step 7", "4e+05", "set gradient_clip=5"):
            assert part in message
        assert "\n" not in message

    def test_of_float16_the_precision_is_named(self, tmp_path):
        watch = Watch(TrainingConfig(), 100, tmp_path, "float16")
        watch.look({"loss": 1.0, "gradient_norm": 1.0}, 0, 0.0)
        with pytest.raises(InputError, match="use bfloat16"):
            watch.look({"loss": math.inf, "gradient_norm": 1.0}, 1, 0.0)

    @pytest.mark.parametrize("norm", [math.nan, math.inf])
    def test_a_gradient_that_is_not_finite_spoils_the_last_step_too(self, watch, norm):
        with pytest.raises(InputError, match=r"gradient is (nan|inf) at step 9"):
            watch.look({"loss": 1.0, "gradient_norm": norm}, 9, 1.0)

    def test_of_float16_such_a_step_was_skipped(self, tmp_path):
        watch = Watch(TrainingConfig(), 100, tmp_path, "float16")
        watch.look({"loss": 1.0, "gradient_norm": math.inf}, 0, 0.0)


class TestCollapse:
    def test_one_direction_for_all_is_said_once(self, watch, capsys):
        for step in range(60):
            watch.look({"loss": 9.0, "accuracy": 0.5, "mean_cosine": 0.97}, step, 0.1)
        said = capsys.readouterr().err
        assert said.count("classes have collapsed") == 1
        assert "mean cosine 0.970" in said and "margin_warmup" in said

    def test_so_is_an_accuracy_of_chance_late_in_the_training(self, watch, capsys):
        for step in range(60):
            watch.look({"loss": 9.0, "accuracy": 0.0, "mean_cosine": 0}, step, 0.2)
        assert not capsys.readouterr().err
        for step in range(60):
            watch.look({"loss": 9.0, "accuracy": 0.01, "mean_cosine": 0}, step, 0.5)
        said = capsys.readouterr().err
        assert said.count("nothing is learned") == 1 and "after 50 %" in said

    def test_what_comes_and_goes_is_said_once_too(self, watch, capsys):
        for step in range(200):
            cosine = 0.97 if step % 40 else 0.1
            values = {"loss": 9.0, "accuracy": step % 30 == 0, "mean_cosine": cosine}
            watch.look(values, step, 0.5)
        said = capsys.readouterr().err
        assert said.count("collapsed") == said.count("nothing is learned") == 1

    def test_a_moment_of_it_is_not(self, watch, capsys):
        for step in range(200):
            cosine, accuracy = (0.99, 0.0) if step % 19 else (0.1, 0.5)
            values = {"loss": 1.0, "accuracy": accuracy, "mean_cosine": cosine}
            watch.look(values, step, 0.9)
        assert not capsys.readouterr().err

    def test_mean_cosine_equals_all_pairs(self):
        features = torch.randn(9, 5, generator=torch.Generator().manual_seed(0)) + 0.3
        rows = features.numpy() / np.linalg.norm(features, axis=1, keepdims=True)
        cosines = rows @ rows.T
        expected = cosines[~np.eye(9, dtype=bool)].mean()
        assert mean_cosine(features).item() == pytest.approx(expected, abs=1e-5)


class TestLog:
    def test_lines_after_the_step_resumed_from_are_dropped(self, tmp_path):
        log = TrainingLog(tmp_path, 0)
        for step in (50, 100, 150):
            log.write({"step": step, "loss": 1.0})
        with open(tmp_path / "log.jsonl", "a") as file:
            file.write('{"step": 200, "lo')
        TrainingLog(tmp_path, 100).write({"step": 101, "loss": 0.5})
        lines = (tmp_path / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [50, 100, 101]

    @pytest.mark.parametrize("every", [1, 7, 20])
    def test_a_line_every_50_steps_whichever_are_read(self, tmp_path, every):
        log, written = TrainingLog(tmp_path, 3), []
        for step in range(3 + every, 503, every):
            if log.is_due(step, False):
                log.write({"step": step})
                written.append(step // 50)
        assert written == list(range(1, written[-1] + 1)) and written[-1] >= 9

    def test_lines_are_json_that_every_reader_takes(self, tmp_path):
        log = TrainingLog(tmp_path, 0)
        log.write({"step": 50, "loss": 1.0, "age.years": math.nan, "norm": math.inf})

        def refuse(word):
            raise AssertionError(f"{word} is no JSON")

        text = (tmp_path / "log.jsonl").read_text()
        found = json.loads(text, parse_constant=refuse)
        assert found == {"step": 50, "loss": 1.0, "age.years": None, "norm": None}

    def test_tensorboard_shows_the_same(self, tmp_path):
        reading = pytest.importorskip(
            "tensorboard.backend.event_processing.event_accumulator"
        )
        log = TrainingLog(tmp_path, 0, tmp_path / "board")
        log.write({"step": 50, "loss": 2.5, "accuracy": 0.25})
        log.write({"step": 100, "loss": 1.5, "accuracy": 0.5})
        found = reading.EventAccumulator(str(tmp_path / "board"))
        found.Reload()
        assert [(e.step, e.value) for e in found.Scalars("loss")] == [
            (50, 2.5),
            (100, 1.5),
        ]

    def test_a_training_logs_each_epoch(self, tmp_path):
        write_people(tmp_path / "people")
        record = train_recogniser(tmp_path / "people", tmp_path / "c", TINY)
        text = (tmp_path / "c/log.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        assert [line["step"] for line in lines] == [3, 6, 9]
        assert [line["epoch"] for line in lines] == [1.0, 2.0, 3.0]
        for line in lines:
            assert line["gradient_norm"] > 0 and line["images_per_second"] > 0
            assert 0 <= line["waiting"] <= 1
        assert "gradient_norm" not in record["history"][0]
        assert 0 <= record["seconds_waiting_for_images"] <= record["seconds"]


class TestImages:
    """One that was readable when the training began, or was not looked at."""

    @pytest.fixture
    def people(self, tmp_path):
        write_people(tmp_path / "people")
        damaged = ImageDataset(tmp_path / "people").paths[5]
        damaged.write_bytes(b"no image")
        return tmp_path / "people", damaged.name

    @pytest.mark.parametrize("cache_mb", [0, 100])
    def test_stops_and_names_it(self, people, tmp_path, cache_mb):
        with pytest.raises(InputError, match=people[1]):
            train_recogniser(
                people[0],
                tmp_path / "c",
                TINY,
                check_images=False,
                cache_mb=cache_mb,
                num_processes=1,
            )

    @pytest.mark.parametrize("cache_mb", [0, 100])
    def test_or_goes_on_and_records_it(self, people, tmp_path, cache_mb, capsys):
        record = train_recogniser(
            people[0],
            tmp_path / "c",
            TINY,
            check_images=False,
            skip_unreadable=True,
            cache_mb=cache_mb,
            num_processes=1,
        )
        ((path, _),) = record["skipped"].items()
        assert path.endswith(people[1])
        assert capsys.readouterr().err.count("; left out") == 1
        assert record["history"][-1]["step"] == 9


def test_identities_with_one_image_are_counted(tmp_path, capsys):
    write_people(tmp_path / "several")
    write_people(tmp_path / "single", identities=5, images=1)
    config = dataclasses.replace(TINY, epochs=0.1)
    folders = [tmp_path / "several", tmp_path / "single"]
    train_recogniser(folders, tmp_path / "c", config)
    assert "5 of 11 identities have one image" in capsys.readouterr().err
