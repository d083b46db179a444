"""What the environment tells JAX: the result is the same, or the refusal one line."""

import os
import subprocess
import sys

import numpy as np
import pytest

from hyperface_jax import load_embeddings
from hyperface_jax.cli import pack

# Each of them alone makes the code fail, or find something else.
MEANT_FOR_OTHERS = {
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_DISABLE_JIT": "1",
    "JAX_ENABLE_X64": "1",
    "JAX_NO_EXECUTION": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_TRANSFER_GUARD": "disallow",
    "JAX_TRANSFER_GUARD_HOST_TO_DEVICE": "disallow",
}


def run(command, environment, **settings):
    """Runs a command in a process of its own, where JAX has yet to be loaded."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            f"hyperface_jax.cli.{command}",
            *(f"--{name}={value}" for name, value in settings.items()),
        ],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_settings_for_other_programs_change_nothing(call, gallery, tmp_path):
    expected, found = tmp_path / "expected.npz", tmp_path / "found.npz"
    settings = {"gallery": gallery, "num_iterations": 20, "seed": 1}
    assert call(pack, **settings, output=expected)[0] == 0
    done = run("pack", MEANT_FOR_OTHERS, **settings, output=found)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(
        load_embeddings(found).embeddings, load_embeddings(expected).embeddings
    )


@pytest.mark.parametrize(
    ("command", "name", "value", "message"),
    [
        (
            "search",
            "JAX_PLATFORMS",
            "nonsense",
            "unset JAX_PLATFORMS, or set it to cpu",
        ),
        # Known to JAX, and nowhere without its plugin.
        ("pack", "JAX_PLATFORMS", "rocm", "unset JAX_PLATFORMS, or set it to cpu"),
        ("capacity", "JAX_PLATFORMS", "nonsense", "asks JAX for 'nonsense'"),
        ("pack", "JAX_ENABLE_X64", "maybe", "JAX_ENABLE_X64"),
    ],
)
def test_what_jax_can_not_do_is_refused(
    gallery, tmp_path, command, name, value, message
):
    settings = {
        "search": {"index": gallery, "queries": gallery},
        "pack": {"gallery": gallery},
        "capacity": {"gallery": gallery, "threshold": 0.3, "spread": 10},
    }[command]
    output = tmp_path / "output"
    done = run(command, {name: value}, **settings, output=output)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert message in done.stderr
    assert not output.exists()
