"""The painted generator and what belongs to it, registered where a test asks for it."""

import pytest

from bridges.generators.generator import GENERATORS
from bridges.photographs.detector import DETECTORS
from bridges.recognisers.recogniser import RECOGNISERS
from tests.generation import painted_world


@pytest.fixture(scope="module")
def painted():
    registries = (GENERATORS, RECOGNISERS, DETECTORS)
    before = [dict(registry._entries) for registry in registries]
    painted_world.register()
    yield
    for registry, entries in zip(registries, before, strict=True):
        registry._entries = entries
