"""The flags of the commands that can use many devices, of one machine or several.

Example, on each of two machines with four GPUs each, the second with --process_id=1:
  hyperface-pack ... --coordinator=first-machine:9876 --num_processes=2 --process_id=0
"""

import contextlib
from collections.abc import Iterator

from absl import flags

from hyperface_jax.commands import InputError, lacks_memory
from hyperface_jax.given import reason_of, shown

# What the code is written for. In the environment JAX finds what users set for other
# programs of theirs; here it would make another result of the same command, or none.
_JAX_SETTINGS = {
    "jax_check_tracer_leaks": False,
    "jax_debug_infs": False,
    "jax_debug_key_reuse": False,
    "jax_debug_nans": False,
    "jax_default_matmul_precision": None,
    "jax_default_prng_impl": "threefry2x32",
    "jax_disable_jit": False,
    "jax_disable_most_optimizations": False,
    "jax_enable_checks": False,
    "jax_enable_custom_prng": False,
    "jax_enable_x64": False,
    "jax_legacy_prng_key": "allow",
    "jax_no_execution": False,
    "jax_no_tracing": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_random_seed_offset": 0,
    "jax_threefry_partitionable": True,
    # Stands for those of each direction, too.
    "jax_transfer_guard": "allow",
}

# None of them has a say in the result.
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
    start_jax()
    from hyperface_jax import processes, sharded

    if values.coordinator:
        processes.connect(values.coordinator, values.num_processes, values.process_id)
    elif values.num_processes is not None or values.process_id is not None:
        raise InputError(
            "--num_processes and --process_id say nothing without --coordinator; pass "
            "all three"
        )
    check_platform()
    with sharded.use_devices(values.num_devices), processes.only_main_speaks():
        yield


def start_jax() -> None:
    """Loads JAX, set as the code needs it, whatever the environment says.

    Raises:
      InputError: the environment holds a value that JAX does not take.
    """
    try:
        import jax
    except ValueError as error:
        raise InputError(
            f"JAX refuses a setting of the environment ({reason_of(error)}); unset the "
            "variable"
        ) from None
    for name, value in _JAX_SETTINGS.items():
        jax.config.update(name, value)


def check_platform() -> None:
    """Checks that JAX has a device, once the processes are joined.

    Raises:
      InputError: it has none of the platform that it was asked for.
    """
    import jax

    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:
        if lacks_memory(error):
            raise
        variable = "JAX_PLATFORMS" if jax.config.jax_platforms else "JAX_PLATFORM_NAME"
        asked = jax.config.jax_platforms or jax.config.jax_platform_name
        reason = f" ({reason_of(error)})" if str(error) else ""
        raise InputError(
            f"{variable} asks JAX for {shown(asked)}, which can't be used "
            f"here{reason}; unset {variable}, or set it to cpu"
        ) from None
