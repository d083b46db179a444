"""Flags of a settings dataclass, and the settings that flags give.

A setting has its default in the dataclass alone; a command has a flag by the same name
for each setting it describes.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from absl import flags

from hyperface_jax import InputError

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


class _FactorListParser(flags.ArgumentParser):
    """``name:number`` with commas between them."""

    syntactic_help = "name:number with commas between them"

    def parse(
        self, argument: str | Sequence[tuple[str, float]]
    ) -> tuple[tuple[str, float], ...]:
        if not isinstance(argument, str):
            return tuple(argument)
        parts = [part.partition(":") for part in argument.split(",") if part]
        try:
            return tuple((name.strip(), float(number)) for name, _, number in parts)
        except ValueError:
            raise ValueError(f"expected {self.syntactic_help}") from None


class _FactorListSerializer(flags.ArgumentSerializer):
    def serialize(self, value: Sequence[tuple[str, float]]) -> str:
        return ",".join(f"{name}:{number:.4g}" for name, number in value)


def _define_factor_list(
    name: str, default: Any, description: str, *, flag_values: flags.FlagValues
) -> None:
    flags.DEFINE(
        _FactorListParser(),
        name,
        default,
        description,
        flag_values,
        _FactorListSerializer(),
    )


def _define_name_list(
    name: str, default: Any, description: str, *, flag_values: flags.FlagValues
) -> None:
    flags.DEFINE_list(name, list(default), description, flag_values=flag_values)


_DEFINE = {
    bool: flags.DEFINE_bool,
    float: flags.DEFINE_float,
    int: flags.DEFINE_integer,
    int | None: flags.DEFINE_integer,
    float | None: flags.DEFINE_float,
    str: flags.DEFINE_string,
    tuple[float, ...]: _define_number_list,
    tuple[str, ...]: _define_name_list,
    tuple[tuple[str, float], ...]: _define_factor_list,
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


def define_options_flags(
    options: Mapping[str, Any], flag_values: flags.FlagValues
) -> None:
    """Defines a flag for every field of the options of several implementations.

    A field that several have is one flag. ``--help`` says whose it is, unless all have
    it, and what it defaults to where they differ; its text is ``metadata["help"]`` of
    the field.

    Args:
      options: an instance of each implementation's options dataclass, by its name.
      flag_values: where the flags go.
    """
    owners: dict[str, dict[str, Any]] = {}
    fields = {}
    for kind, default in options.items():
        for field in dataclasses.fields(default):
            fields.setdefault(field.name, field)
            owners.setdefault(field.name, {})[kind] = getattr(default, field.name)
    for name, defaults in owners.items():
        values = [*defaults.values()]
        same = all(value == values[0] for value in values)
        text = fields[name].metadata["help"]
        if not same:
            each = ", ".join(f"{value} for {kind}" for kind, value in defaults.items())
            text = f"{text}; by default {each}"
        elif len(defaults) < len(options):
            text = f"{text} (of {', '.join(defaults)})"
        define = _DEFINE[fields[name].type]
        define(name, values[0] if same else None, text, flag_values=flag_values)


def options_from_flags(
    kind: str, config: Config, flag_values: flags.FlagValues, others: Mapping[str, Any]
) -> Config:
    """Returns the options of one implementation, with the flags given in place.

    Args:
      kind: the implementation's name.
      config: its options.
      flag_values: the parsed flags.
      others: the options of all implementations, as for :func:`define_options_flags`.

    Raises:
      InputError: a flag was given that is another implementation's alone.
    """
    own = {field.name for field in dataclasses.fields(config)}
    for other, options in others.items():
        for field in dataclasses.fields(options):
            if field.name not in own and flag_values[field.name].present:
                raise InputError(
                    f"--{field.name} is a setting of {other}, which {kind} does not "
                    "have; leave it out"
                )
    return config_from_flags(config, flag_values)


def config_from_flags(config: Config, flag_values: flags.FlagValues) -> Config:
    """Returns ``config`` with every flag that was given in its field's place."""
    given = {
        field.name: flag_values[field.name].value
        for field in dataclasses.fields(config)
        if field.name in flag_values and flag_values[field.name].present
    }
    return dataclasses.replace(config, **given)
