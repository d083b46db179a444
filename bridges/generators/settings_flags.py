"""Flags of the settings of every registered generator; loads no torch."""

import os
from collections.abc import Mapping
from typing import Any

from absl import flags

from bridges.config_flags import define_options_flags, options_from_flags
from bridges.generators.generator import GENERATORS, default_settings, kind_of


def define(values: flags.FlagValues) -> dict[str, Any]:
    """Defines a flag for each setting of each kind of generator.

    Returns:
      The default settings of each kind, by its name.
    """
    options = default_settings()
    define_options_flags(options, values)
    return options


def given(
    generator: str | os.PathLike[str],
    options: Mapping[str, Any],
    values: flags.FlagValues,
) -> Any:
    """The settings of one generator, with the flags given in place.

    Args:
      generator: name or path.
      options: what :func:`define` returned.
      values: the parsed flags.

    Raises:
      InputError: no such generator, or a flag that it has no setting for.
    """
    kind = kind_of(generator)
    own = GENERATORS[kind].default_settings()
    return options_from_flags(kind, own, values, options)
