"""hyperface-render refuses flags that have no effect together."""

import pytest

from bridges.cli import render


@pytest.mark.parametrize(
    "settings",
    [
        {"num_pairs": 40},
        {"verification_set": "mixed", "num_identities": 100},
        {"verification_set": "mixed", "images_per_identity": 8},
        {"verification_set": "mixed", "first_identity": 0},
        {"verification_set": "mixed", "stream": "train"},
    ],
)
def test_flags_without_effect_are_refused(call, tmp_path, settings):
    code, _, error = call(render, output=tmp_path / "faces", **settings)
    assert (code, error.count("\n")) == (2, 1)
    assert f"--{list(settings)[-1]} has no effect with" in error
    assert not (tmp_path / "faces").exists()
