"""Flags of the commands that read folders of images."""

import os
from collections.abc import Sequence
from typing import Any

from absl import flags

from bridges.datasets.catalogues.catalogue import CATALOGUES
from bridges.datasets.identity_folders import AUTO, IDENTITY_FROM


class _PathListParser(flags.ArgumentParser):
    """Paths separated by commas; one in the name of an existing path is part of it."""

    syntactic_help = "paths with commas between them"

    def parse(self, argument: str | Sequence[str]) -> list[str]:
        if not isinstance(argument, str):
            return list(argument)
        parts, paths = argument.split(","), []
        while parts:
            # The longest run of parts that exists as a path, or the first alone.
            runs = range(len(parts), 1, -1)
            count = next((n for n in runs if _exists(",".join(parts[:n]))), 1)
            paths.append(",".join(parts[:count]))
            del parts[:count]
        return [path for path in paths if path]


class _PathListSerializer(flags.ArgumentSerializer):
    def serialize(self, value: Sequence[str]) -> str:
        return ",".join(value)


def define_path_list(name: str, description: str, values: flags.FlagValues) -> None:
    """Defines a flag that takes several paths, by default none.

    Args:
      name: of the flag.
      description: what ``--help`` says.
      values: where the flag goes.
    """
    flags.DEFINE(
        _PathListParser(), name, None, description, values, _PathListSerializer()
    )


def define(
    values: flags.FlagValues, *, identities: bool = True, skip_unreadable: bool = True
) -> None:
    """Defines the flags in ``values``.

    Args:
      values: where the flags go.
      identities: whether the command reads who is on the images from folders.
      skip_unreadable: whether it refuses images that can't be read.
    """
    if skip_unreadable:
        flags.DEFINE_bool(
            "skip_unreadable",
            False,
            "leave out images that can't be read, and list them in the output, instead "
            "of refusing them all before the work",
            flag_values=values,
        )
    if identities:
        ways = "; ".join(f"{way}: {what}" for way, what in IDENTITY_FROM.items())
        flags.DEFINE_enum(
            "identity_from",
            AUTO,
            [*IDENTITY_FROM, *CATALOGUES],
            f"where no metadata say who is on an image, what does. {ways}; or the "
            f"published catalogue whose layout the folder has: {', '.join(CATALOGUES)}",
            flag_values=values,
        )


def given(values: flags.FlagValues) -> dict[str, Any]:
    """The flags' values as keyword arguments of what reads the folder."""
    names = ("skip_unreadable", "identity_from")
    return {name: values[name].value for name in names if name in values}


def _exists(path: str) -> bool:
    return os.path.exists(os.path.expanduser(path))
