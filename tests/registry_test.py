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


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "json:JSONDecodr",
            "'json:JSONDecodr' is registered, but module 'json'",
        ),
        ("no.such:thing", "'no.such:thing' is registered, but No module named 'no'"),
        ("json.no:thing", "'json.no:thing' is registered, but No module named"),
        ("json", "'json' is registered, expected 'module:attribute'"),
        (":thing", "':thing' is registered, expected 'module:attribute'"),
    ],
)
def test_mistyped_entry_is_refused_by_its_text(entry, message):
    with pytest.raises(InputError, match=message):
        Registry("head", {"own": entry})["own"]


@pytest.mark.parametrize(
    ("source", "error"),
    [("import absent_package", ModuleNotFoundError), ("int.nothing", AttributeError)],
)
def test_fault_within_the_module_is_not_taken_for_a_typo(
    tmp_path, monkeypatch, source, error
):
    (tmp_path / "faulty_part.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error):
        Registry("head", {"own": "faulty_part:Part"})["own"]
