"""The flags of commands that compute with torch; loads no torch."""

from typing import Any

from absl import flags

PRECISIONS = ("float32", "bfloat16", "float16")


def define(values: flags.FlagValues, *, precision: bool = True) -> None:
    """Defines ``--device`` and, unless told otherwise, ``--precision``."""
    flags.DEFINE_string(
        "device",
        "auto",
        "what to compute on: cpu, cuda, cuda:N or mps; auto takes the first GPU there "
        "is, or the CPU",
        flag_values=values,
    )
    if precision:
        flags.DEFINE_enum(
            "precision",
            "float32",
            list(PRECISIONS),
            "of matrix products and convolutions; the smaller ones are faster on a GPU",
            flag_values=values,
        )


def setting(precision: str) -> dict[str, str]:
    """What an output's settings say of a precision: nothing of the default."""
    return {} if precision == PRECISIONS[0] else {"precision": precision}


def given(values: flags.FlagValues) -> dict[str, Any]:
    """The flags as keyword arguments ``device`` and ``precision``."""
    names = ("device", "precision")
    return {name: values[name].value for name in names if name in values}
