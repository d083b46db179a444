"""What makes images of identities: the protocol, and one folder per kind of generator.

Names are loaded on first use, so that reading one module does not load them all.
"""

import importlib
from typing import Any

_EXPORTS = {
    "GENERATORS": "generator",
    "Generator": "generator",
    "GeneratorKind": "generator",
    "load_generator": "generator",
}

__all__ = [*_EXPORTS]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
