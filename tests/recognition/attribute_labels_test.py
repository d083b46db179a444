"""Labels from records of any form, and settings of several tasks that do not fit."""

import dataclasses
import math

import numpy as np
import pytest

from bridges.recognition import attribute_labels
from bridges.recognition.config import TrainingConfig
from hyperface_jax import InputError

ALL = ("identity", "pose", "age", "expression", "gender")
CONFIG = TrainingConfig(tasks=ALL)


class Labelled:
    """A source of records alone."""

    name = "faces"

    def __init__(self, *records):
        self.records = records


@pytest.mark.parametrize(
    ("task", "records", "reason"),
    [
        ("pose", [{"age": 3}], "faces: no image has a number for yaw, pitch, roll"),
        ("age", [{"age": "old"}, {}], "number for age, which the task age learns"),
        ("expression", [{}, {}], "faces: no image has a word for expression"),
        ("gender", [{"gender": "?"}, {"gender": 7}], "a word for gender"),
        ("expression", [{"expression": "sad"}] * 2, "is 'sad' for all images"),
    ],
)
def test_a_task_without_labels_is_refused(task, records, reason):
    config = TrainingConfig(tasks=("identity", task))
    with pytest.raises(InputError, match=reason) as refusal:
        attribute_labels.fingerprint([Labelled(*records)], config)
    assert "\n" not in str(refusal.value)


def test_labels_of_any_form_are_read():
    source = Labelled(
        {"age": "31", "gender": "Female", "yaw": 3},
        {"age": math.inf, "gender": 0.7, "yaw": True},
        {"age": 12, "gender": None},
    )
    fields, ages = attribute_labels.read_numbers("age", [source])
    assert fields == ("age",)
    np.testing.assert_array_equal(ages[:, 0], [31, np.nan, 12])
    fields, poses = attribute_labels.read_numbers("pose", [source])
    assert fields == ("yaw",) and poses.shape == (3, 1)
    np.testing.assert_array_equal(poses[:, 0], [3, np.nan, np.nan])
    names, codes = attribute_labels.read_classes("gender", "gender", [source])
    assert names == ("female", "male") and codes.tolist() == [0, 1, -1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"task_weights": {"height": 1}}, "task_weights name 'height', which is not"),
        ({"task_weights": {"age": -1}}, "task_weights of age is -1"),
        ({"task_weights": {"age": math.nan}}, "task_weights of age is nan"),
        ({"task_weights": dict.fromkeys(ALL, 0)}, "0 for all tasks"),
        ({"task_weights": "age"}, "expected a factor by task"),
        ({"task_weights": (("age", 1), ("age", 2))}, "name a task twice"),
        ({"task_weights": {"attention": 1}}, "'attention', which is not trained"),
        ({"task_weighting": "random"}, "task_weighting is 'random'"),
        ({"attention": "all"}, "attention is 'all'"),
        ({"attention_groups": "gender"}, "without attention"),
        ({"attention": "demographic", "attention_groups": ""}, "expected a field"),
    ],
)
def test_unfit_settings_are_refused(change, reason):
    with pytest.raises(InputError, match=reason):
        dataclasses.replace(CONFIG, **change)
