"""hyperface-capacity: a known capacity in, a table and a JSON file out."""

import json

import numpy as np
import pytest

from hyperface_jax import save_embeddings
from hyperface_jax.cli import capacity
from tests.hyperface_jax import packing_oracles


@pytest.fixture
def directions(tmp_path):
    """An embedding file of 30 directions of space, three of each of ten people."""
    path = tmp_path / "directions.npz"
    rows = packing_oracles.random_rows(30, 3)
    save_embeddings(path, rows, kind="gallery", labels=np.arange(30) // 3)
    return path


def test_octahedron_and_two_poles(call, directions, tmp_path):
    """No spread: six directions at right angles; 45 degrees: only opposite ones."""
    output = tmp_path / "capacity.json"
    settings = {
        "gallery": directions,
        "threshold": 0,
        "output": output,
        "regularization_weight": 0,
        "case": "worst",
    }
    code, printed, _ = call(capacity, **settings, spread=0)
    assert code == 0
    [row] = json.loads(output.read_text())["capacity"]
    assert (row["identities"], row["bound"], row["bound_source"]) == (6, 6, "sphere")
    assert row["max_reference_cosine"] == pytest.approx(0, abs=1e-9)
    assert row["trials"][-1] == {"packed": 6, "kept": 6}
    title, line = printed.splitlines()[:2]
    assert dict(zip(title.split(), line.split(), strict=True))["found"] == "6"
    # The same command again measures nothing anew, another one is refused.
    content = output.read_bytes()
    assert call(capacity, **settings, spread=0)[:2] == (0, printed)
    code, _, error = call(capacity, **settings, spread=45)
    assert code == 2
    assert "made with spread = 0.0, asked for 45.0" in error
    assert output.read_bytes() == content


def test_an_interrupted_run_goes_on(call, directions, tmp_path):
    output = tmp_path / "capacity.json"
    # Images so far off that even opposite identities are confused: nothing to pack.
    settings = {"gallery": directions, "output": output, "spread": 60, "case": "worst"}
    call(capacity, **settings, threshold="-0.5,-0.6")
    record = json.loads(output.read_text())
    assert record["complete"]
    assert [row["identities"] for row in record["capacity"]] == [1, 1]
    first = record["capacity"][0] | {"identities": 77}
    output.write_text(json.dumps(record | {"capacity": [first], "complete": False}))
    assert call(capacity, **settings, threshold="-0.5,-0.6")[0] == 0
    found = json.loads(output.read_text())
    assert found["capacity"] == [first, record["capacity"][1]]
    assert found["complete"]
    # What an earlier solver found is not this one's.
    found["inputs"]["solver"] -= 1
    output.write_text(json.dumps(found))
    code, _, error = call(capacity, **settings, threshold="-0.5,-0.6")
    assert code == 2
    assert "made with solver = 5, asked for 6" in error


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gallery": ""}, "--gallery is missing"),
        ({"output": "/"}, "/: is a folder"),
        ({"threshold": ""}, "--threshold is missing"),
        ({"threshold": "high"}, "--threshold: could not convert"),
        ({"threshold": "0.2,1.5"}, "threshold is 1.5"),
        ({"threshold": "nan"}, "threshold is nan"),
        ({"spread": -3}, "spread is -3"),
        # At 60 degrees images of one identity have a mean cosine of 0.25.
        (
            {"threshold": "0.1,0.9", "spread": 60, "false_match_rate": 0.5},
            "threshold 0.9 with",
        ),
        ({"spread_from": "images.npz"}, "give one of --spread"),
        ({"max_identities": 1}, "max_identities is 1"),
        ({"false_match_rate": 0}, "false_match_rate is 0"),
        ({"min_gallery_cosine": 2}, "min_gallery_cosine is 2"),
        ({"regularization_weight": -1}, "regularization_weight is -1"),
        ({"block_size": 0}, "block_size is 0"),
    ],
)
def test_refusals(call, directions, tmp_path, changed, message):
    settings = {
        "gallery": directions,
        "threshold": 0.3,
        "spread": 10,
        "output": tmp_path / "capacity.json",
        **changed,
    }
    code, _, error = call(capacity, **settings)
    assert code == 2
    assert message in error
    assert not (tmp_path / "capacity.json").exists()


def test_spread_is_measured_on_labelled_images_alone(call, directions, tmp_path):
    images = tmp_path / "images.npz"
    rows = packing_oracles.random_rows(30, 3)
    settings = {
        "gallery": directions,
        "threshold": 0.9,
        "output": tmp_path / "capacity.json",
        "spread_from": images,
    }
    save_embeddings(images, rows, kind="gallery")
    code, _, error = call(capacity, **settings)
    assert code == 2
    assert "has no labels" in error
    save_embeddings(images, rows, kind="gallery", labels=np.arange(30))
    code, _, error = call(capacity, **settings)
    assert code == 2
    assert "no identity has two images" in error
