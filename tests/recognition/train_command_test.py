"""The command hyperface-train: every flag reaches the training."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from absl import flags

from bridges.cli import train as command
from bridges.datasets.image_dataset import ImageDatasetWriter
from bridges.recognition.config import RECIPES, TrainingConfig
from bridges.recognition.head_options import AdaFaceOptions
from bridges.recognition.training import train_recogniser
from hyperface_jax import InputError
from tests.recognition.plain_source import Plain

OTHER_VALUES = {
    "backbone": "iresnet18",
    "optimizer": "sgd",
    "schedule": "multi_step",
    "augmentation": "none",
    "image_size": 96,
    "warm_start": False,
    "milestones": (0.25, 0.75),
    "warmup": 0.25,
    "margin_warmup": 0.25,
    "task_weighting": "uncertainty",
    "attention": "demographic",
    "accumulation": 4,
    "class_share": 0.5,
    "validation_share": 0.25,
    "dataset_weights": (1.0, 2.5),
}
HEAD_OPTIONS = dataclasses.fields(AdaFaceOptions)


@pytest.fixture
def parse():
    """Parses a command line, and leaves the flags as they were."""

    def parse(*arguments: str) -> None:
        for name in command.FLAGS:
            command.FLAGS[name].unparse()  # of what another test gave
        command.FLAGS(["hyperface-train", *arguments])

    yield parse
    for name in command.FLAGS:
        command.FLAGS[name].unparse()


def test_defaults_are_the_configs(parse):
    parse()
    assert command.config_given().settings() == TrainingConfig().settings()


@pytest.mark.parametrize(
    "field",
    # A head has options of its own, tasks need records; task_weights and
    # attention_groups need other flags beside them, as below.
    [
        field
        for field in (*dataclasses.fields(TrainingConfig), *HEAD_OPTIONS)
        if field.name
        not in (*("head", "head_options", "tasks", "task_weights", "attention_groups"),)
    ],
    ids=lambda field: field.name,
)
def test_every_flag_has_its_effect(parse, field):
    value = OTHER_VALUES.get(field.name)
    if value is None:
        value = type(field.default)(field.default / 2 + 1)
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    parse(f"--{field.name}={text}")
    if field in HEAD_OPTIONS:
        change = {"head_options": AdaFaceOptions(**{field.name: value})}
    else:
        change = {field.name: value}
    expected = dataclasses.replace(TrainingConfig(), **change)
    assert value != field.default
    assert command.config_given().settings() == expected.settings()


def test_flags_of_several_tasks_and_of_attention_have_their_effect(parse):
    parse(
        "--tasks=identity,pose,age",
        "--task_weights=age:0.5, pose:0.1,attention:2",
        "--attention=demographic",
        "--attention_groups=gender",
    )
    expected = TrainingConfig(
        tasks=("identity", "pose", "age"),
        task_weights={"pose": 0.1, "age": 0.5, "attention": 2},
        attention="demographic",
        attention_groups="gender",
    )
    assert command.config_given().settings() == expected.settings()


def test_recipe_is_overridden_by_flags_given(parse):
    parse("--recipe=paper", "--epochs=10.0", "--batch_size=128")
    config = command.config_given()
    assert config == dataclasses.replace(RECIPES["paper"], epochs=10.0, batch_size=128)
    assert config.head_options.scale == 64.0
    assert config.backbone == "iresnet50" and config.optimizer == "sgd"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "--dataset is missing"),
        (["--dataset=x"], "--output is missing"),
        (["--dataset=x", "--output=y", "--epochs=-1"], "epochs is -1"),
        (["--dataset=/nowhere", "--output=y"], "/nowhere: no such folder"),
    ],
)
def test_refusals(parse, arguments, reason):
    parse(*arguments)
    with pytest.raises(InputError, match=reason):
        command.main()


def test_milestones_that_are_no_numbers_are_refused(parse):
    with pytest.raises(flags.Error, match="milestones"):
        parse("--milestones=a,b")


def test_training_process_never_loads_jax(tmp_path):
    with ImageDatasetWriter(tmp_path / "d", settings={}, kind="rendered") as writer:
        for i in range(8):
            record = {"identity": i // 4, "index": i % 4, "seed": 0}
            writer.write(np.full((32, 32, 3), 30 * i, np.uint8), record)
        writer.finish()
    program = (
        "import sys\n"
        "from bridges.cli import train\n"
        "train.FLAGS(sys.argv)\n"
        "train.main()\n"
        "print({'jax', 'jaxlib', 'optax'} & set(sys.modules))\n"
    )
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            f"--dataset={tmp_path / 'd'}",
            f"--output={tmp_path / 'c'}",
            "--image_size=16",
            "--embedding_size=8",
            "--batch_size=4",
            "--epochs=1",
            "--num_threads=1",
        ],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    first, last = result.stdout.splitlines()
    assert "trained on 8 images of 2 identities" in first
    assert last == "set()"


def test_of_a_validated_training_the_weights_that_are_kept_are_summed_up():
    rows = [
        {"epoch": i + 1, "step": i, "loss": 3.0 - i, "validation_auc": auc}
        for i, auc in enumerate((0.6, 0.9, 0.7))
    ]
    record = {"data": {"images": 80, "identities": 10}, "history": rows, "seconds": 90}
    assert command.summary(record) == (
        "trained on 80 images of 10 identities in 1.5 minutes; last epoch: loss 1.000, "
        "validation_auc 0.700"
    )
    record["validation"] = {"images": 16, "identities": 2, "kept_epoch": 2}
    assert command.summary(record) == (
        "trained on 64 images of 8 identities in 1.5 minutes; epoch 2, the best: loss "
        "2.000, validation_auc 0.900"
    )


def test_as_many_weights_as_data_sets_before_any_image_is_read(tmp_path):
    source = Plain(0, 40)
    source.read = None
    config = dataclasses.replace(TrainingConfig(), dataset_weights=(1.0, 2.0))
    with pytest.raises(InputError, match="2, expected one for each of the 1 data sets"):
        train_recogniser(source, tmp_path / "c", config)
    assert not (tmp_path / "c").exists()
