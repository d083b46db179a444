"""Flags of the settings of every registered generator; loads no torch."""

import os
from typing import Any

from absl import flags

from bridges.config_flags import define_options_flags, options_from_flags
from bridges.generators.generator import default_settings, kind_of


def define(values: flags.FlagValues) -> None:
    """Defines a flag for each setting of each kind of generator."""
    define_options_flags(default_settings(), values)


def given(generator: str | os.PathLike[str], values: flags.FlagValues) -> Any:
    """The settings of one generator, with the flags given in place.

    Args:
      generator: name or path.
      values: the parsed flags.

    Raises:
      InputError: no such generator, or a flag that it has no setting for.
    """
    options, kind = default_settings(), kind_of(generator)
    return options_from_flags(kind, options[kind], values, options)
