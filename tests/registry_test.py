import pytest

from bridges.registry import Registry
from hyperface_jax import InputError


def test_registry_imports_an_entry_when_it_is_asked_for():
    registry = Registry("thing", {"decoder": "json:JSONDecoder", "absent": "no:thing"})
    import json

    assert registry["decoder"] is json.JSONDecoder
    assert list(registry) == ["decoder", "absent"]


def test_registered_implementation_is_found():
    registry = Registry("thing")
    registry.register("own", 3)
    assert registry["own"] == 3
    assert "own" in registry


def test_unknown_name_is_refused_with_the_known_ones():
    registry = Registry("head", {"a": 1, "b": 2})
    with pytest.raises(InputError, match="head is 'c', expected one of a, b"):
        registry["c"]
