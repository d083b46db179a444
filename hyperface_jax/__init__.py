"""HyperFace packing: spread identities over a recogniser's embedding hypersphere.

Names are loaded on first use (PEP 562), so a process that only reads a file or runs a
command of ``bridges`` never loads JAX.
"""

import importlib
from typing import Any

from hyperface_jax._version import __version__ as __version__

_EXPORTS = {
    "Capacity": "capacity",
    "EmbeddingFile": "embedding_file",
    "EmbeddingIndex": "search",
    "InputError": "commands",
    "ObjectiveBound": "optimality",
    "PackingConfig": "packing_config",
    "PackingResult": "packing",
    "Separation": "separation",
    "Spread": "spread",
    "capacity_bound": "bounds",
    "check_embeddings": "embedding_file",
    "check_model": "embedding_file",
    "load_embeddings": "embedding_file",
    "max_cosine_bound": "bounds",
    "measure_capacity": "capacity",
    "measure_spread": "spread",
    "objective_bound": "optimality",
    "pack_embeddings": "packing",
    "packing_objective": "objective",
    "packing_record": "record",
    "save_embeddings": "embedding_file",
    "separation_statistics": "separation",
    "typical_cosine": "spread",
    "worst_case_cosine": "spread",
}

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
