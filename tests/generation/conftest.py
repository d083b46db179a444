"""What several tests of generation begin with."""

import pytest

from bridges.generators.generator import GENERATORS
from bridges.photographs.detector import DETECTORS
from bridges.recognisers.recogniser import RECOGNISERS
from tests.generation import arc2face_files, painted_world


@pytest.fixture(scope="module")
def painted():
    """The painted generator and what belongs to it, registered."""
    registries = (GENERATORS, RECOGNISERS, DETECTORS)
    before = [dict(registry._entries) for registry in registries]
    painted_world.register()
    yield
    for registry, entries in zip(registries, before, strict=True):
        registry._entries = entries


@pytest.fixture(scope="module")
def crowd(tmp_path_factory, painted):
    """A folder with references of 40 people, and the dataset that one worker makes."""
    folder = tmp_path_factory.mktemp("crowd")
    rows = painted_world.unit_rows(40)
    painted_world.save_references(folder / "references.npz", rows)
    painted_world.generate(folder, folder / "whole")
    return folder


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Of all files of a small Arc2Face, with a LoRA."""
    folder = tmp_path_factory.mktemp("arc2face")
    written = arc2face_files.write(folder)
    return {**written, "lcm_lora": arc2face_files.write_lora(folder)}


@pytest.fixture(scope="module")
def places(paths):
    """Of the files without the LoRA."""
    return {name: path for name, path in paths.items() if name != "lcm_lora"}


@pytest.fixture(scope="module")
def with_lcm(paths):
    return arc2face_files.load(paths)
