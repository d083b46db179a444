"""The precision of matrix products between all pairs of rows.

Everything that is reported is computed in float32 or better. A descent may multiply
in less, several times as fast on devices made for it: ``tf32x3`` and ``bf16x3`` split
each float32 factor into parts of 11 or 8 bits and add up three products of parts.
"""

import jax
import jax.numpy as jnp

from hyperface_jax.errors import InputError, reason_of

Precision = jax.lax.Precision | jax.lax.DotAlgorithmPreset

# A GPU would otherwise round factors to 11 bits.
FLOAT32 = jax.lax.Precision.HIGHEST
PRECISIONS: dict[str, Precision] = {
    "float32": FLOAT32,
    "tf32x3": jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3,
    "bf16x3": jax.lax.DotAlgorithmPreset.BF16_BF16_F32_X3,
}


def product(a: jax.Array, b: jax.Array, precision: Precision = FLOAT32) -> jax.Array:
    """The matrix product ``[p, q]`` of ``a`` ``[p, d]`` and ``b`` ``[d, q]``.

    Summed in float32, whatever the precision of the factors.
    """
    return jnp.matmul(a, b, precision=precision, preferred_element_type=jnp.float32)


def check_supported(name: str) -> None:
    """Raises InputError unless the devices in use multiply in the precision ``name``.

    A CPU multiplies in float32 alone: JAX refuses it ``tf32x3``, and silently takes
    float32 for ``bf16x3``.
    """
    platform, reason = jax.default_backend(), ""
    if name == "float32":
        return
    if platform != "cpu":
        try:
            jax.block_until_ready(
                jax.jit(product, static_argnums=2)(
                    jnp.ones((16, 16)), jnp.ones((16, 16)), PRECISIONS[name]
                )
            )
            return
        except (NotImplementedError, RuntimeError, ValueError) as error:
            reason = f" ({reason_of(error)})"
    raise InputError(
        f"matmul_precision is {name}, which this {platform} can't multiply in{reason}; "
        "leave it at float32"
    )
