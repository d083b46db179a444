"""What the records of images say of pose, age, expression, gender and group.

Numbers that a record lacks are NaN, classes -1: tasks learn from the other images.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bridges.datasets.groups import group_of
from bridges.datasets.image_source import ImageSource
from bridges.recognition.config import TrainingConfig
from bridges.recognition.task_settings import DEMOGRAPHIC, GROUPS_TASK
from hyperface_jax import InputError
from hyperface_jax.commands import announce

# Fields that are numbers, by the task that learns them.
NUMBERS = {"pose": ("yaw", "pitch", "roll"), "age": ("age",)}
GENDERS = ("female", "male")
_GENDER_WORDS = {"f": 0, "female": 0, "woman": 0, "m": 1, "male": 1, "man": 1}


class Numbers(NamedTuple):
    """Labels that are numbers.

    Attributes:
      fields: ``k`` fields of the records, those that some image has.
      values: ``[n, k]`` float32, NaN where an image has none.
    """

    fields: tuple[str, ...]
    values: np.ndarray


class Classes(NamedTuple):
    """Labels that are words.

    Attributes:
      names: ``k`` words, in the order of the alphabet.
      codes: ``[n]`` int64: image i is ``names[codes[i]]``; -1 where it has no word.
    """

    names: tuple[str, ...]
    codes: np.ndarray


def read_numbers(task: str, sources: Sequence[ImageSource]) -> Numbers:
    """Labels of a task of :data:`NUMBERS`.

    Args:
      task: its key.
      sources: the images, in their order.

    Raises:
      InputError: no image has a number in any of the fields.
    """
    fields = NUMBERS[task]
    values = np.array(
        [[_number(record.get(field)) for field in fields] for record in _all(sources)],
        np.float32,
    )
    there = np.isfinite(values).any(0)
    if not there.any():
        raise _nothing(task, sources, "a number", ", ".join(fields))
    kept = tuple(field for field, found in zip(fields, there, strict=True) if found)
    return Numbers(kept, values[:, there])


def read_classes(task: str, field: str, sources: Sequence[ImageSource]) -> Classes:
    """Labels of the task ``"expression"``, ``"gender"`` or ``"attention"``.

    Args:
      task: its name, for messages.
      field: of the records.
      sources: the images, in their order.

    Raises:
      InputError: no image has a word there, or all that have one have the same.
    """
    words = [_word(task, field, record.get(field)) for record in _all(sources)]
    names = sorted({word for word in words if word is not None})
    if not names:
        raise _nothing(task, sources, "a word", field)
    if len(names) < 2:
        raise InputError(
            f"{_where(sources)}: {field} is {names[0]!r} for all images that have one; "
            f"the task {task} has nothing to tell apart, leave it out"
        )
    code = {word: i for i, word in enumerate(names)} | {None: -1}
    return Classes(tuple(names), np.array([code[word] for word in words], np.int64))


def announce_missing(sources: Sequence[ImageSource], config: TrainingConfig) -> None:
    """Says of each task and field how many images have no label."""
    for task, field, missing in _fields(sources, config):
        if missing.any():
            announce(
                f"{_where(sources)}: {missing.sum():,} of {len(missing):,} images have "
                f"no {field}; the task {task} learns from the others"
            )


def fingerprint(
    sources: Sequence[ImageSource], config: TrainingConfig
) -> dict[str, str]:
    """SHA-256 of all labels that a training reads, as ``{"labels": …}``.

    Empty for a training that reads none but identities.

    Raises:
      InputError: as :func:`read_numbers` and :func:`read_classes`.
    """
    digest, found = hashlib.sha256(), False
    for labels in _labels(sources, config):
        found = True
        digest.update(repr(labels[1:3]).encode())
        digest.update(np.ascontiguousarray(labels[3]).tobytes())
    return {"labels": digest.hexdigest()} if found else {}


def _labels(
    sources: Sequence[ImageSource], config: TrainingConfig
) -> Iterator[tuple[str, str | tuple[str, ...], tuple[str, ...], np.ndarray]]:
    """Task, fields, names of classes and labels, of each task that reads records."""
    for task in config.tasks:
        if task in NUMBERS:
            fields, values = read_numbers(task, sources)
            yield task, fields, (), values
        elif task in ("expression", "gender"):
            yield task, task, *read_classes(task, task, sources)
    if config.attention == DEMOGRAPHIC:
        field = config.attention_groups
        yield GROUPS_TASK, field, *read_classes(GROUPS_TASK, field, sources)


def _fields(
    sources: Sequence[ImageSource], config: TrainingConfig
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Task, field, and ``[n]`` bool where it is missing."""
    for task, fields, _, values in _labels(sources, config):
        if isinstance(fields, str):
            yield task, fields, values < 0
            continue
        for i, field in enumerate(fields):
            yield task, field, np.isnan(values[:, i])


def _all(sources: Sequence[ImageSource]) -> Iterator[dict[str, Any]]:
    for source in sources:
        yield from source.records


def _number(value: Any) -> float:
    """A number, also one written as text; NaN for anything else."""
    if isinstance(value, bool):
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _word(task: str, field: str, value: Any) -> str | None:
    if task == "gender":
        number = _number(value)
        if 0 <= number <= 1:
            return GENDERS[number > 0.5]
        known = _GENDER_WORDS.get(value.lower()) if isinstance(value, str) else None
        return None if known is None else GENDERS[known]
    word = group_of(field, value)
    return word or None


def _where(sources: Sequence[ImageSource]) -> str:
    return ", ".join(source.name for source in sources)


def _nothing(
    task: str, sources: Sequence[ImageSource], what: str, field: str
) -> InputError:
    return InputError(
        f"{_where(sources)}: no image has {what} for {field}, which the task {task} "
        "learns; leave the task out, or add the field to the records"
    )
