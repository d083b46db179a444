"""Settings of the demo that can't be meant are refused."""

import sys

import pytest

from bridges.demo import stages
from bridges.demo.config import DemoConfig
from hyperface_jax import InputError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gallery_identities", 1),
        ("gallery_images", 0),
        ("num_identities", 1),
        ("images_per_identity", 1),
        ("num_pairs", 20),
        ("num_pairs", 610),
        ("image_size", 8),
        ("packing_iterations", 0),
        ("steps", 0),
        ("batch_size", 1),
        ("batch_size", 3201),
        ("seed", -1),
        ("regularization_weight", float("nan")),
    ],
)
def test_a_setting_out_of_range_is_refused(name, value):
    with pytest.raises(InputError, match=f"{name} is {value}"):
        DemoConfig(**{name: value})


@pytest.mark.parametrize("name", ["guidance", "epochs"])
def test_what_a_stage_refuses_is_refused_at_once(name):
    with pytest.raises(InputError, match=name):
        DemoConfig(**{name: float("nan")})


def test_a_comparison_needs_a_gallery_face_for_each_identity():
    settings = {"gallery_identities": 100, "num_identities": 101}
    DemoConfig(**settings)
    with pytest.raises(InputError, match="num_identities is 101"):
        DemoConfig(**settings, compare=True)


@pytest.mark.parametrize(
    ("code", "error"),
    [(1, OSError), (2, InputError), (-9, MemoryError), (130, KeyboardInterrupt)],
)
def test_packing_fails_as_its_process_did(code, error):
    program = "import os, sys; os.kill(os.getpid(), 9) if {0} < 0 else sys.exit({0})"
    with pytest.raises(error):
        stages.run_packing([sys.executable, "-c", program.format(code)])


def test_the_defaults_are_what_the_demo_promises():
    config = DemoConfig()
    assert config.gallery_identities * config.gallery_images >= 2000
    assert (config.num_identities, config.images_per_identity) == (200, 16)
    assert config.num_pairs == 600
