import dataclasses

import pytest
from absl import flags

from bridges.config_flags import (
    config_from_flags,
    define_config_flags,
    define_options_flags,
    options_from_flags,
)
from hyperface_jax import InputError


def _field(default, text):
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class _Diffusion:
    steps: int = _field(10, "solver steps")
    guidance: float = _field(5.0, "how much the identity counts")


@dataclasses.dataclass(frozen=True)
class _Other:
    guidance: float = _field(3.0, "how much the identity counts")
    truncation: float = _field(0.7, "towards the mean face")


_OPTIONS = {"diffusion": _Diffusion(), "other": _Other()}


def _parsed(*arguments):
    values = flags.FlagValues()
    define_options_flags(_OPTIONS, values)
    values(["command", *arguments])
    return values


def test_options_of_one_implementation_take_its_flags_and_defaults():
    found = options_from_flags("other", _Other(), _parsed("--truncation=0.5"), _OPTIONS)
    assert found == _Other(guidance=3.0, truncation=0.5)


def test_flag_shared_by_two_implementations_serves_both():
    values = _parsed("--guidance=2")
    assert options_from_flags("other", _Other(), values, _OPTIONS).guidance == 2
    found = options_from_flags("diffusion", _Diffusion(), values, _OPTIONS)
    assert found == _Diffusion(guidance=2.0)


def test_flag_of_another_implementation_is_refused():
    with pytest.raises(InputError, match="--steps is a setting of diffusion"):
        options_from_flags("other", _Other(), _parsed("--steps=3"), _OPTIONS)


def test_help_says_whose_a_flag_is_and_where_defaults_differ():
    values = _parsed()
    assert values["steps"].help == "solver steps (of diffusion)"
    assert "by default 5.0 for diffusion, 3.0 for other" in values["guidance"].help


@dataclasses.dataclass(frozen=True)
class _Weighted:
    factors: tuple[tuple[str, float], ...] = (("one", 1.0),)


def _factors(*arguments):
    values = flags.FlagValues()
    define_config_flags(_Weighted(), {"factors": "of each"}, values)
    values(["command", *arguments])
    return values


def test_factors_are_given_by_name():
    values = _factors("--factors=two:0.5, three:2")
    found = config_from_flags(_Weighted(), values)
    assert found == _Weighted((("two", 0.5), ("three", 2.0)))
    assert values["factors"].serialize() == "--factors=two:0.5,three:2"
    assert config_from_flags(_Weighted(), _factors()) == _Weighted()
    assert config_from_flags(_Weighted(), _factors("--factors=")) == _Weighted(())


@pytest.mark.parametrize("text", ["two", "two:", "two:x", "two=3"])
def test_factors_of_another_form_are_refused(text):
    with pytest.raises(flags.IllegalFlagValueError, match="expected name:number"):
        _factors(f"--factors={text}")
