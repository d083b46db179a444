"""The examples in docstrings of modules, to be run as written."""

import itertools
import textwrap
import types


def example_of(module: types.ModuleType) -> str:
    """The first literal block of a module's docstring, as a program."""
    lines = module.__doc__.split("::\n", 1)[1].splitlines()
    inside = itertools.takewhile(lambda line: line[:4].strip() == "", lines)
    return textwrap.dedent("\n".join(inside))
