"""Checks of the fields of a settings dataclass, where it is made."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hyperface_jax import checks

_WHOLE = (int, int | None)


def check_settings(
    config: Any,
    ranges: Mapping[str, tuple[float, float]],
    choices: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Checks fields of a frozen dataclass, in its ``__post_init__``.

    Numbers of NumPy become Python's, which JSON can write.

    Args:
      config: the dataclass; fields of type ``int`` have to be whole numbers.
      ranges: the smallest and the largest value by field, both included. None is within
        the range of a field that may be None.
      choices: the words that a field may be.

    Raises:
      InputError: a field is of another type or out of range; names it.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, np.generic):
            value = value.item()
            object.__setattr__(config, field.name, value)
        if choices and field.name in choices:
            checks.one_of(value, field.name, tuple(choices[field.name]))
        if field.name not in ranges or (value is None and field.type == int | None):
            continue
        check = checks.whole_number if field.type in _WHOLE else checks.in_range
        check(value, field.name, *ranges[field.name])
