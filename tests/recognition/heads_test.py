"""A head of one's own is one file and one line, and is trained by the command."""

import json
import subprocess
import sys

import pytest

from bridges.recognition import heads
from tests.docstring_examples import example_of
from tests.recognition.training_test import write_people

EXAMPLE = example_of(heads)
COMMAND = "\nfrom bridges.cli import train\ntrain.run()\n"


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "dataset"
    write_people(folder)
    return folder


def train(people, output, *arguments):
    return subprocess.run(
        [sys.executable, "-c", EXAMPLE + COMMAND]
        + [f"--dataset={people}", f"--output={output}", "--image_size=32"]
        + ["--embedding_size=16", "--batch_size=16", "--num_threads=1", *arguments],
        capture_output=True,
        text=True,
    )


def test_a_head_of_one_s_own_is_trained_by_the_command(people, tmp_path):
    done = train(
        people,
        tmp_path / "c",
        *("--head=heated", "--heat=0.5", "--epochs=12", "--augmentation=none"),
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "c" / "training.json").read_text())
    assert record["settings"]["head"] == "heated" and record["settings"]["heat"] == 0.5
    assert not {"margin", "scale", "concentration"} & set(record["settings"])
    assert record["history"][-1]["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--head=heated", "--margin=0.3"), "--margin is a setting of adaface"),
        (("--heat=2",), "--heat is a setting of heated"),
        (("--head=arc",), "softmax|heated"),
    ],
)
def test_a_flag_of_another_head_is_refused_in_one_line(
    people, tmp_path, arguments, reason
):
    done = train(people, tmp_path / "c", *arguments)
    assert done.returncode == 2
    assert reason in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "c").exists()
