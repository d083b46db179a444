"""Flags of a settings dataclass, and the settings that flags give.

A setting has its default in the dataclass alone; a command has a flag by the same name
for each setting it describes.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from absl import flags

Config = TypeVar("Config")


class _NumberListParser(flags.ArgumentParser):
    """Numbers with commas between them."""

    syntactic_help = "numbers with commas between them"

    def parse(self, argument: str | Sequence[float]) -> tuple[float, ...]:
        if isinstance(argument, str):
            argument = argument.split(",")
        return tuple(float(text) for text in argument)


class _NumberListSerializer(flags.ArgumentSerializer):
    def serialize(self, value: Sequence[float]) -> str:
        return ",".join(f"{number:.4g}" for number in value)


def _define_number_list(
    name: str, default: Any, description: str, *, flag_values: flags.FlagValues
) -> None:
    flags.DEFINE(
        _NumberListParser(),
        name,
        default,
        description,
        flag_values,
        _NumberListSerializer(),
    )


_DEFINE = {
    bool: flags.DEFINE_bool,
    float: flags.DEFINE_float,
    int: flags.DEFINE_integer,
    int | None: flags.DEFINE_integer,
    str: flags.DEFINE_string,
    tuple[float, ...]: _define_number_list,
}


def define_config_flags(
    config: Any,
    descriptions: Mapping[str, str],
    flag_values: flags.FlagValues,
    *,
    choices: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Defines a flag for every described field of a settings dataclass.

    Args:
      config: an instance; its values are the defaults.
      descriptions: what ``--help`` says, by field; a field left out gets no flag.
      flag_values: where the flags go.
      choices: the values a field may have, where only some are possible.
    """
    choices = choices or {}
    for field in dataclasses.fields(config):
        if field.name not in descriptions:
            continue
        default, text = getattr(config, field.name), descriptions[field.name]
        if field.name in choices:
            flags.DEFINE_enum(
                field.name, default, choices[field.name], text, flag_values=flag_values
            )
        else:
            _DEFINE[field.type](field.name, default, text, flag_values=flag_values)


def config_from_flags(config: Config, flag_values: flags.FlagValues) -> Config:
    """Returns ``config`` with every flag that was given in its field's place."""
    given = {
        field.name: flag_values[field.name].value
        for field in dataclasses.fields(config)
        if field.name in flag_values and flag_values[field.name].present
    }
    return dataclasses.replace(config, **given)
