"""Image datasets from reference embeddings: Algorithm 3 over any generator.

Names are loaded on first use, so that reading one module does not load them all.
"""

import importlib
from typing import Any

_EXPORTS = {
    "GenerationConfig": "generation_config",
    "generate_dataset": "image_generation",
    "vary_identity": "identity_variation",
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
