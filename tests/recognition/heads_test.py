"""A head of one's own is one file and one line, and is trained by the command."""

import json
import subprocess
import sys

import pytest

from tests.recognition.training_test import write_people

# What a user writes; the last line stands for an entry in HEADS.
TOY = """
import dataclasses
from torch import nn
from bridges.recognition.heads import HEADS, HeadEntry, HeadOutput

@dataclasses.dataclass(frozen=True)
class Options:
    heat: float = dataclasses.field(default=1.0, metadata={"help": "of the softmax"})

class Softmax(nn.Linear):
    def __init__(self, embedding_size, num_classes, options):
        super().__init__(embedding_size, num_classes)
        self.heat = options.heat
    def forward(self, features, labels, progress):
        logits = super().forward(features) / self.heat
        return HeadOutput(logits, logits.detach())

HEADS.register("toy", HeadEntry(Options, Softmax))
"""
COMMAND = "from bridges.cli import train\ntrain.run()\n"


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "dataset"
    write_people(folder)
    return folder


def train(people, output, *arguments):
    return subprocess.run(
        [sys.executable, "-c", TOY + COMMAND]
        + [f"--dataset={people}", f"--output={output}", "--image_size=32"]
        + ["--embedding_size=16", "--batch_size=16", "--num_threads=1", *arguments],
        capture_output=True,
        text=True,
    )


def test_a_toy_head_is_trained_by_the_command(people, tmp_path):
    done = train(
        people,
        tmp_path / "c",
        *("--head=toy", "--heat=0.5", "--epochs=12", "--augmentation=none"),
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "c" / "training.json").read_text())
    assert record["settings"]["head"] == "toy" and record["settings"]["heat"] == 0.5
    assert not {"margin", "scale", "concentration"} & set(record["settings"])
    assert record["history"][-1]["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--head=toy", "--margin=0.3"), "--margin is a setting of adaface"),
        (("--heat=2",), "--heat is a setting of toy"),
        (("--head=arcface",), "adaface|toy"),
    ],
)
def test_a_flag_of_another_head_is_refused_in_one_line(
    people, tmp_path, arguments, reason
):
    done = train(people, tmp_path / "c", *arguments)
    assert done.returncode == 2
    assert reason in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "c").exists()
