"""Settings of the demo that can't be meant are refused."""

import sys

import pytest

from bridges.demo import stages
from bridges.demo.config import DemoConfig
from bridges.generators.latent_diffusion.settings import LatentDiffusionSettings
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
        ("batch_size", 1),
        ("batch_size", 3201),
        ("seed", -1),
        ("regularization_weight", float("nan")),
    ],
)
def test_a_setting_out_of_range_is_refused(name, value):
    with pytest.raises(InputError, match=f"{name} is {value}"):
        DemoConfig(**{name: value})


def test_what_a_stage_refuses_is_refused_at_once():
    with pytest.raises(InputError, match="epochs"):
        DemoConfig(epochs=float("nan"))
    with pytest.raises(InputError, match="takes settings of type Latent"):
        stages.check_models(DemoConfig(settings=3))


def test_record_is_that_of_runs_made_before_generators_had_their_own_settings():
    expected = {
        "gallery_identities": 2000,
        "gallery_images": 1,
        "num_identities": 200,
        "images_per_identity": 16,
        "num_pairs": 600,
        "image_size": 64,
        "packing_iterations": 300,
        "regularization_weight": 2.0,
        "guidance": 5.0,
        "steps": 10,
        "epochs": 20.0,
        "batch_size": 128,
        "recogniser": "recogniser_f",
        "generator": "embedded",
        "seed": 0,
    }
    assert DemoConfig().record() == expected
    settings = LatentDiffusionSettings(guidance=2.0, steps=3)
    record = DemoConfig(settings=settings, compare=True).record()
    assert record == {**expected, "guidance": 2.0, "steps": 3}


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
