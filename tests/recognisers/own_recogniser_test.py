"""A recogniser of one's own: the example of the docstring in the real commands."""

import json
import types

import numpy as np
import pytest
from PIL import Image

from bridges.cli import embed, verify
from bridges.datasets.verification_set import write_pairs
from bridges.evaluation.verification_metrics import evaluate_verification
from bridges.recognisers import recogniser as module
from bridges.recognisers.embedding import embed_images
from bridges.recognisers.recogniser import RECOGNISERS, load_recogniser, perceptual
from hyperface_jax import InputError, load_embeddings
from tests.docstring_examples import example_of

NAMES = [f"{person}/{i}.png" for person in ("ann", "bob", "carl") for i in range(4)]


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    """Registers the docstring's recogniser for the length of a test."""
    monkeypatch.setattr(RECOGNISERS, "_entries", dict(RECOGNISERS._entries))
    exec(example_of(module), {})


@pytest.fixture
def faces(tmp_path):
    """Smooth images of 20 pixels, of which a person's resemble each other."""
    rng = np.random.default_rng(0)
    for person in ("ann", "bob", "carl"):
        (tmp_path / "faces" / person).mkdir(parents=True)
        coarse = rng.uniform(0, 255, (3, 3, 3))
        for i in range(4):
            pixels = (coarse + 25 * rng.normal(size=(3, 3, 3))).clip(0, 255)
            image = Image.fromarray(pixels.astype(np.uint8)).resize((20, 20))
            image.save(tmp_path / "faces" / person / f"{i}.png")
    return tmp_path / "faces"


def expected_rows(faces) -> np.ndarray:
    rows = []
    for name in NAMES:
        image = Image.open(faces / name).resize((8, 8), Image.Resampling.BICUBIC)
        pixels = np.asarray(image, float)
        both = (pixels + pixels[:, ::-1] + 1).ravel()
        rows.append(both / np.sqrt((both**2).sum()))
    return np.array(rows)


def test_embed_command(call, faces, tmp_path):
    output = tmp_path / "a.npz"
    code, said, _ = call(embed, images=faces, model="colours", output=output)
    assert code == 0 and "12 embeddings of 192 numbers by colours" in said
    made = load_embeddings(output)
    assert made.names.tolist() == NAMES
    assert made.metadata["model"] == {"name": "colours", "sha256": "0" * 64}
    np.testing.assert_allclose(made.embeddings, expected_rows(faces), atol=1e-6)


def test_verify_command(call, faces, tmp_path):
    pairs = [(i, j, (i + j) % 2) for i in range(12) for j in range(i)]
    same = np.array([NAMES[i][:3] == NAMES[j][:3] for i, j, _ in pairs])
    fold = [fold for *_, fold in pairs]
    rows = zip(pairs, same, strict=True)
    write_pairs(faces, [(NAMES[i], NAMES[j], s, k) for (i, j, k), s in rows])
    output = tmp_path / "m.json"
    settings = {"checkpoint": "colours", "benchmarks": faces, "output": output}
    assert call(verify, **settings)[0] == 0
    metrics = json.loads(output.read_text())
    assert metrics["model"]["name"] == "colours"
    first, second, _ = np.array(pairs).T
    embeddings = expected_rows(faces)
    expected = evaluate_verification(embeddings[first], embeddings[second], same, fold)
    found = metrics["benchmarks"]["faces"]
    assert found["accuracy"] == pytest.approx(expected["accuracy"])
    assert found["auc"] == pytest.approx(expected["auc"]) and found["auc"] > 0.9


def test_a_folder_says_its_kind_and_a_file_by_its_suffix(tmp_path):
    (tmp_path / "config.json").write_text('{"kind": "colours"}')
    assert load_recogniser(tmp_path).model["name"] == "colours"
    (tmp_path / "config.json").write_text('{"kind": "shapes"}')
    with pytest.raises(InputError, match=r"config\.json: kind is 'shapes'.*colours"):
        load_recogniser(tmp_path)
    seen = []
    RECOGNISERS.register(".toy", lambda *arguments: seen.append(arguments))
    load_recogniser(tmp_path / "a.TOY", device="cpu", precision="bfloat16")
    ((place, device),) = seen
    assert place == tmp_path / "a.TOY"
    assert (device.name, device.precision) == ("cpu", "bfloat16")


def test_what_is_not_there_is_refused_with_what_could_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = "colors: no recogniser there.*recogniser_f, sface, dlib, colours"
    with pytest.raises(InputError, match=expected):
        load_recogniser("colors")
    (tmp_path / "colours").mkdir()
    with pytest.raises(InputError, match="the name of a recogniser, and of something"):
        load_recogniser("colours")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (np.ones((2, 4), np.float32), "toy: returned embeddings of norms 2 to 2"),
        (np.eye(4, dtype=np.float32)[:1], r"toy: returned .*\(1, 4\).*\(2, 4\)"),
        (np.full((2, 4), np.nan, np.float32), "toy: returned .* no finite numbers"),
    ],
)
def test_what_breaks_the_protocol_is_named(rows, reason):
    toy = types.SimpleNamespace(
        image_size=8,
        embedding_size=4,
        model={"name": "toy"},
        embed=lambda images, *, flip: rows,
    )
    with pytest.raises(InputError, match=reason):
        embed_images(toy, np.zeros((2, 8, 8, 3), np.uint8))


def test_feature_maps_are_asked_for_in_one_line():
    assert perceptual(load_recogniser("recogniser_f")).features
    with pytest.raises(InputError, match="colours: has no feature maps"):
        perceptual(load_recogniser("colours"))
