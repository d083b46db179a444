"""Trainings that were killed or interrupted resume to the bits of one that was not."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from bridges.datasets.image_dataset import ImageDataset
from bridges.recognition import checkpoint, loop
from bridges.recognition.steps import num_steps, train_step
from bridges.recognition.training import train_recogniser
from hyperface_jax import InputError
from tests.recognition.training_test import TINY, write_people


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("people") / "dataset"
    write_people(folder)
    return folder


def start_training(program, people, output, **settings) -> subprocess.Popen:
    """Starts the command, by ``program``, to train what :data:`TINY` describes."""
    flags = {
        "dataset": people,
        "output": output,
        "image_size": 32,
        "embedding_size": 16,
        "batch_size": 16,
        "num_threads": 1,
        **settings,
    }
    return subprocess.Popen(
        [sys.executable, *program]
        + [f"--{name}={value}" for name, value in flags.items()],
        stderr=subprocess.PIPE,
        text=True,
    )


def check_equal_trainings(people, config, *outputs: pathlib.Path) -> None:
    """Resumes trainings to their ends, and finds the same bits."""
    networks, histories = [], []
    for output in outputs:
        train_recogniser(people, output, config, num_threads=1)
        names = sorted(path.name for path in output.iterdir())
        assert [name for name in names if name != "training.png"] == [
            "config.json",
            "log.jsonl",
            "model.safetensors",
            "training.json",
        ]
        networks.append(load_file(output / "model.safetensors"))
        history = json.loads((output / "training.json").read_text())["history"]
        histories.append(
            [{k: v for k, v in row.items() if k != "seconds"} for row in history]
        )
    first, second = networks
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name
    assert histories[0] == histories[1]


# The command, which is sent SIGTERM in the middle of its step number 7.
TERMINATED = """
import os, signal
from bridges.cli import train
from bridges.recognition import loop

train_step, steps = loop.train_step, []

def interrupted_step(*arguments, **settings):
    steps.append(1)
    if len(steps) == 7:
        os.kill(os.getpid(), signal.SIGTERM)
    return train_step(*arguments, **settings)

loop.train_step = interrupted_step
train.run()
"""


# Forks trainings that are killed after another number of steps each, the last of them
# not at all; says how each ended. Forked, since starting torch takes seconds.
DYING = """
import os, signal
from bridges.recognition import loop
from bridges.recognition.config import TrainingConfig
from bridges.recognition.heads import HEADS
from bridges.recognition.training import train_recogniser
import torch

torch.set_num_threads(1)
weight = torch.nn.Parameter(torch.ones(1))
weight.sum().backward()
torch.optim.AdamW([weight]).step()  # Loads what each child would load anew.
train_step = loop.train_step
for steps in [1, 2, 4, 3, 5, 2, 1, 4, 3, 2, None]:
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) * -1)
        continue
    left = [steps]

    def dying_step(*arguments, **settings):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if left[0]:
            left[0] -= 1
        return train_step(*arguments, **settings)

    loop.train_step = dying_step
    train_recogniser(
        {people!r}, {output!r}, {config}, checkpoint_minutes=0, num_threads=1
    )
    os._exit(0)
"""


class TestResume:
    @pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
    def test_killed_training_resumes_to_the_same_bits(
        self, people, tmp_path, optimizer
    ):
        config = dataclasses.replace(TINY, epochs=10.0, optimizer=optimizer)
        killed, whole = tmp_path / "killed", tmp_path / "whole"
        process = start_training(
            ("-m", "bridges.cli.train"),
            people,
            killed,
            epochs=10,
            optimizer=optimizer,
            checkpoint_minutes=0,
        )
        progress = killed / "progress.safetensors"
        while process.poll() is None:
            if progress.exists():
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert progress.exists() and not (killed / "model.safetensors").exists()
        (killed / ".progress-a1b2c3d4.partial.safetensors").touch()
        check_equal_trainings(people, config, killed, whole)

    def test_terminated_training_resumes_to_the_same_bits(self, people, tmp_path):
        config = dataclasses.replace(TINY, epochs=4.0)
        terminated, whole = tmp_path / "terminated", tmp_path / "whole"
        process = start_training(
            ("-c", TERMINATED), people, terminated, epochs=4, checkpoint_minutes=1000
        )
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 130
        assert "Traceback" not in errors
        assert "the same command continues" in errors.splitlines()[-1]
        found = sorted(path.name for path in terminated.iterdir())
        assert found == ["log.jsonl", "progress.safetensors", "training.json"]
        _, saved = checkpoint.load_progress(terminated)
        assert saved["counts"]["step"] == 7, "the step was finished, and then saved"
        check_equal_trainings(people, config, terminated, whole)

    def test_killed_ten_times_it_ends_at_the_same_bits(self, people, tmp_path):
        """At whatever it does: reading images, in a step, saving, finishing."""
        config = dataclasses.replace(
            TINY, epochs=3.0, validation_share=0.34, class_share=0.75, batch_size=3
        )
        killed, whole = tmp_path / "killed", tmp_path / "whole"
        program = DYING.format(
            people=os.fspath(people), output=os.fspath(killed), config=config
        )
        process = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True
        )
        assert process.returncode == 0, process.stderr
        assert process.stdout.split() == ["9"] * 10 + ["0"]
        check_equal_trainings(people, config, killed, whole)
        lines = (killed / "log.jsonl").read_text().splitlines()
        steps = [json.loads(line)["step"] for line in lines]
        assert steps == sorted(set(steps)), "no step is logged twice"

    def test_images_left_out_meanwhile_are_another_order(self, tmp_path, monkeypatch):
        """Positions in the order are of the images that could be read then."""
        people, output = tmp_path / "people", tmp_path / "c"
        write_people(people)
        train_step, steps = loop.train_step, []
        settings = {"skip_unreadable": True, "checkpoint_minutes": 0}
        ImageDataset(people).paths[5].write_bytes(b"no image")

        def fail(*arguments, **settings):
            steps.append(1)
            if len(steps) == 4:
                raise OSError("the disk is gone")
            return train_step(*arguments, **settings)

        with monkeypatch.context() as patch, pytest.raises(OSError, match="disk"):
            patch.setattr(loop, "train_step", fail)
            train_recogniser(people, output, TINY, check_images=False, **settings)
        with pytest.raises(InputError, match="left 0 unreadable images out, now it is"):
            train_recogniser(people, output, TINY, **settings)
        assert train_recogniser(people, output, TINY, check_images=False, **settings)[
            "complete"
        ]

    def test_a_training_that_ends_is_interrupted_after_its_last_step(
        self, people, tmp_path, monkeypatch
    ):
        """While it writes the recogniser: nothing is trained again."""
        steps = []

        def interrupt(*arguments):
            raise KeyboardInterrupt

        def count(*arguments, **settings):
            steps.append(1)
            return train_step(*arguments, **settings)

        monkeypatch.setattr(loop, "train_step", count)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(checkpoint, "save_network", interrupt)
            train_recogniser(people, tmp_path / "c", TINY)
        done = len(steps)
        record = train_recogniser(people, tmp_path / "c", TINY)
        assert len(steps) == done == num_steps(48, TINY)
        assert record["history"][-1]["step"] == done

    def test_damaged_progress_is_named(self, people, tmp_path):
        config = dataclasses.replace(TINY, epochs=1.0)
        (tmp_path / "c").mkdir()
        train_recogniser(people, tmp_path / "c", config)
        for name in ("model.safetensors", "config.json"):
            (tmp_path / "c" / name).unlink()
        record = json.loads((tmp_path / "c" / "training.json").read_text())
        record["complete"] = False
        (tmp_path / "c" / "training.json").write_text(json.dumps(record))
        (tmp_path / "c" / "progress.safetensors").write_bytes(b"half a file")
        with pytest.raises(InputError, match=r"progress\.safetensors: damaged"):
            train_recogniser(people, tmp_path / "c", config)
