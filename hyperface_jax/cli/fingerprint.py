"""What the output of a command depends on: another command's is not taken for it."""

from collections.abc import Sequence
from typing import Any

from absl import flags

from hyperface_jax import files
from hyperface_jax.commands import settings_of
from hyperface_jax.embeddings import npz_file
from hyperface_jax.packing.config import SOLVER_VERSION


def fingerprint_of(
    values: flags.FlagValues, *, inputs: Sequence[str], leave_out: Sequence[str]
) -> dict[str, Any]:
    """The settings, the content of the input files and the version of the solvers.

    Args:
      values: the parsed flags of a command.
      inputs: flags that name files to read; their SHA-256 stands for them.
      leave_out: flags that have no say in the result.

    Returns:
      A JSON-ready dictionary by flag, and ``solver``.

    Raises:
      InputError: an input file is missing, or may not be read.
    """
    depends = {**settings_of(values), "solver": SOLVER_VERSION}
    for name in leave_out:
        depends.pop(name)
    for name in inputs:
        path = depends[name]
        if path:
            npz_file.open_input(path).close()
        depends[name] = path and files.sha256_of(path)
    return depends
