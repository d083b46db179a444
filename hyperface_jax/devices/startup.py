"""JAX as the commands start it: with settings of their own and a device that works."""

from hyperface_jax.errors import InputError, lacks_memory, reason_of, shown

# The settings this code is written for. Environment variables set for other programs
# would change the result of a command, or break it.
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
    # Includes the guards of each direction.
    "jax_transfer_guard": "allow",
}


def load_jax() -> None:
    """Loads JAX with the settings this code needs, whatever the environment says.

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
      InputError: JAX finds no device of the platform it was asked for.
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
