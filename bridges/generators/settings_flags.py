"""Flags of the settings of every registered generator, and of where its files are.

Loads no torch.
"""

import dataclasses
import os
from typing import Any, NamedTuple

from absl import flags

from bridges.config_flags import define_options_flags, options_from_flags
from bridges.generators.generator import GENERATORS, kind_of


@dataclasses.dataclass(frozen=True)
class _NoPaths:
    """Of a generator that its name or path says all of."""


class GeneratorFlags(NamedTuple):
    """What flags can say of generators.

    Attributes:
      settings: the default settings of each kind, by its name.
      paths: where the files of each kind are, with none given.
    """

    settings: dict[str, Any]
    paths: dict[str, Any]

    def given(
        self, generator: str | os.PathLike[str], values: flags.FlagValues
    ) -> tuple[Any, Any | None]:
        """Settings and paths of one generator, with the flags given in place.

        Args:
          generator: name or path.
          values: the parsed flags.

        Returns:
          The settings; the paths, or None of a kind that has none.

        Raises:
          InputError: no such generator, or a flag that it has no setting for.
        """
        kind = kind_of(generator)
        settings, paths = (
            options_from_flags(kind, options[kind], values, options)
            for options in (self.settings, self.paths)
        )
        return settings, None if isinstance(paths, _NoPaths) else paths


def define(values: flags.FlagValues) -> GeneratorFlags:
    """Defines a flag for each setting and each path of each kind of generator."""
    options = GeneratorFlags(
        {name: GENERATORS[name].default_settings() for name in GENERATORS},
        {name: GENERATORS[name].default_paths() or _NoPaths() for name in GENERATORS},
    )
    for each in options:
        define_options_flags(each, values)
    return options
