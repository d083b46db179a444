"""Files whose labels are names, and flags out of range, through the commands."""

import json

import numpy as np
import pytest

from hyperface_jax import load_embeddings, save_embeddings
from hyperface_jax.cli import capacity, pack, search

PEOPLE = [f"person {row // 2}" for row in range(20)]


@pytest.fixture
def named(tmp_path, unit_rows):
    """The gallery of :func:`gallery`, its people by name."""
    path = tmp_path / "named.npz"
    save_embeddings(path, unit_rows, kind="gallery", labels=PEOPLE)
    return path


def test_names_start_the_references_that_numbers_do(call, gallery, named, tmp_path):
    packed = []
    for path in (gallery, named):
        output = tmp_path / f"packed_{path.name}"
        assert call(pack, gallery=path, output=output, num_iterations=2)[0] == 0
        packed.append(load_embeddings(output).embeddings)
    assert len(packed[0]) == 10, "one for each person"
    np.testing.assert_array_equal(*packed)


def test_names_say_whose_images_the_spread_is_of(call, named, tmp_path):
    output = tmp_path / "capacity.json"
    settings = {"gallery": named, "spread_from": named, "threshold": -0.9}
    code, printed, _ = call(capacity, **settings, case="worst", output=output)
    assert code == 0
    assert "images of 10 identities" in printed
    assert json.loads(output.read_text())["complete"]


def test_names_are_searched_as_any_rows(call, named, tmp_path):
    output = tmp_path / "found.npz"
    assert call(search, index=named, queries=named, output=output, k=1)[0] == 0
    with np.load(output) as found:
        assert found["rows"][:, 0].tolist() == list(range(20))


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        (capacity, "max_identities", 1),
        (capacity, "max_identities", 10**12),
        (capacity, "min_gallery_cosine", 2),
        (capacity, "min_gallery_cosine", "nan"),
        (capacity, "false_match_rate", 0.6),
        (capacity, "spread", 91),
        (capacity, "spread", "nan"),
        (capacity, "threshold", "0.3,1"),
        (capacity, "num_iterations", 0),
        (capacity, "time_limit", "inf"),
        (capacity, "seed", -1),
        (search, "k", 0),
        (search, "k", 10**12),
        (search, "block_size", -1),
        (search, "num_devices", 0),
        (pack, "num_identities", 0),
        (pack, "checkpoint_seconds", "inf"),
        (pack, "checkpoint_seconds", "nan"),
        (pack, "decay_every", 10**12),
    ],
)
def test_flags_out_of_range_are_refused_before_any_file_is_read(
    call, tmp_path, command, name, value
):
    settings = {
        capacity: {"gallery": "none.npz", "threshold": 0.3, "spread": 10},
        search: {"index": "none.npz", "queries": "none.npz"},
        pack: {"gallery": "none.npz"},
    }[command]
    output = tmp_path / "output"
    code, _, error = call(command, **settings | {name: value, "output": output})
    assert code == 2
    assert f"{name} is " in error
    assert "none.npz" not in error
    assert not output.exists()


@pytest.mark.parametrize(
    "record",
    ["[" * 100_000, "[]", '{"inputs": [], "capacity": []}', '{"inputs": {}}'],
)
def test_an_output_that_is_not_capacitys_stays(call, gallery, tmp_path, record):
    output = tmp_path / "capacity.json"
    output.write_text(record)
    settings = {"gallery": gallery, "threshold": -0.9, "spread": 60}
    code, _, error = call(capacity, **settings, output=output)
    assert code == 2
    assert "isn't of this command" in error
    assert output.read_text() == record
