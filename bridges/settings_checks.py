"""Checks of the fields of a settings dataclass, at construction."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hyperface_jax import checks

_WHOLE = (int, int | None)
_OPTIONAL = (int | None, float | None)


def check_settings(
    config: Any,
    ranges: Mapping[str, tuple[float, float]],
    choices: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Checks the fields of a frozen dataclass; call it in ``__post_init__``.

    NumPy scalars are replaced by Python numbers, which JSON can store.

    Args:
      config: the dataclass; fields of type ``int`` must be whole numbers.
      ranges: smallest and largest value by field, both included. None is allowed in a
        field whose type allows it.
      choices: allowed words by field.

    Raises:
      InputError: a field of another type or out of range; the message names it.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, np.generic):
            value = value.item()
            object.__setattr__(config, field.name, value)
        if choices and field.name in choices:
            checks.one_of(value, field.name, tuple(choices[field.name]))
        if field.name not in ranges or (value is None and field.type in _OPTIONAL):
            continue
        check = checks.whole_number if field.type in _WHOLE else checks.in_range
        check(value, field.name, *ranges[field.name])
