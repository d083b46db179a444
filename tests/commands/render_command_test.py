"""hyperface-render: sets of verification, and flags that have no effect together."""

import pytest

from bridges.cli import render
from bridges.datasets.verification_set import load_verification_set
from bridges.faces.names import FULL_PAIRS, VERIFICATION_SETS


@pytest.mark.parametrize(
    "settings",
    [
        {"num_pairs": 40},
        {"full": True},
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


def test_all_sets_of_the_sizes_of_their_benchmarks(call, tmp_path, monkeypatch):
    sizes = dict.fromkeys(VERIFICATION_SETS, 6000) | {"frontal_profile": 7000}
    assert sizes == FULL_PAIRS
    # So that rendering takes a second.
    few = dict.fromkeys(VERIFICATION_SETS, 40) | {"frontal_profile": 60}
    monkeypatch.setattr(render, "FULL_PAIRS", few)
    settings = {"verification_set": "all", "image_size": 16, "num_processes": 1}
    code, said, _ = call(render, output=tmp_path, full=True, **settings)
    assert code == 0 and said.count("rendered into") == 5
    found = {name: len(load_verification_set(tmp_path / name).same) for name in few}
    assert found == few


def test_full_says_how_many_pairs(call, tmp_path):
    settings = {"verification_set": "mixed", "full": True, "num_pairs": 40}
    code, _, error = call(render, output=tmp_path / "faces", **settings)
    assert (code, error.count("\n")) == (2, 1)
    assert "--num_pairs has no effect with --full" in error
