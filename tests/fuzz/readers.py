"""The run of a fuzz test: a file damaged again and again, and the reader of it."""

import os
import pathlib
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from hyperface_jax import InputError
from tests.fuzz.mutations import mutated

# How often a file is damaged; "make fuzz" asks for more, and for other damage.
ROUNDS = int(os.environ.get("FUZZ_ROUNDS", 30))
SEED = int(os.environ.get("FUZZ_SEED", 0))


def survive(
    path: pathlib.Path, valid: bytes, read: Callable[[pathlib.Path], Any]
) -> None:
    """Checks that whatever befalls a file, it is read, or refused in one line.

    Args:
      path: where the file is.
      valid: its content, which ``read`` accepts.
      read: the reader under test.
    """
    path.write_bytes(valid)
    read(path)
    for number in range(ROUNDS):
        # Each round by itself, to be looked at alone.
        random = np.random.default_rng([SEED, number, zlib.crc32(path.name.encode())])
        damaged = mutated(valid, random)
        path.write_bytes(damaged)
        try:
            read(path)
        except InputError as error:
            assert "\n" not in str(error), f"round {number}: {error!r}"
        except Exception as error:
            kept = path.with_name(f"escaped-{number}-{path.name}")
            kept.write_bytes(damaged)
            raise AssertionError(f"round {number} of {kept}: {error!r}") from error
    path.write_bytes(valid)
