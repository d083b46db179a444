"""The flags of the commands that can use many devices, of one machine or several.

Example, on each of two machines with four GPUs each, the second with --process_id=1:
  hyperface-pack ... --coordinator=first-machine:9876 --num_processes=2 --process_id=0
"""

import contextlib
from collections.abc import Iterator

from absl import flags

from hyperface_jax.devices import startup
from hyperface_jax.errors import InputError

# None of them affects the result.
NAMES = ("num_devices", "coordinator", "num_processes", "process_id")


def define(values: flags.FlagValues) -> None:
    """Defines the flags in ``values``."""
    flags.DEFINE_integer(
        "num_devices",
        None,
        "Over how many devices to spread the work, those of all processes together. By "
        "default one, or all when there are several processes.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "coordinator",
        None,
        "host:port of process 0, to work in several processes, as on several machines: "
        "start the command once for each. All must find the same files under the same "
        "names; process 0 alone writes.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "num_processes",
        None,
        "With --coordinator: how many processes there are.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "process_id",
        None,
        "With --coordinator: which of them this is, from 0.",
        flag_values=values,
    )


@contextlib.contextmanager
def in_use(values: flags.FlagValues) -> Iterator[None]:
    """Joins the other processes, if any, and uses the devices asked for.

    Raises:
      InputError: there are not as many, the processes can't be joined, or JAX does
        not start.
    """
    startup.load_jax()
    from hyperface_jax.devices import processes, sharded

    if values.coordinator:
        processes.connect(values.coordinator, values.num_processes, values.process_id)
    elif values.num_processes is not None or values.process_id is not None:
        raise InputError(
            "--num_processes and --process_id say nothing without --coordinator; pass "
            "all three"
        )
    startup.check_platform()
    with sharded.use_devices(values.num_devices), processes.only_main_speaks():
        yield
