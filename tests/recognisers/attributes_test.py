"""Attributes that a multi-task recogniser reads, and the file that holds them."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from bridges.cli import embed as command
from bridges.recognisers.gallery import embed_folder
from bridges.recognisers.recogniser import load_recogniser
from bridges.recognition import checkpoint, loop
from bridges.recognition.attribute_heads import load_heads
from bridges.recognition.training import train_recogniser
from hyperface_jax import InputError, load_embeddings, save_embeddings
from tests.recognition.attributed_people import EXPRESSIONS, write_attributed
from tests.recognition.training_test import TINY

CONFIG = dataclasses.replace(
    TINY, tasks=("identity", "pose", "age", "expression", "gender"), epochs=4.0
)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "dataset"
    write_attributed(folder)
    return folder


@pytest.fixture(scope="module")
def model(people, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "multi"
    train_recogniser(people, folder, CONFIG, num_threads=1)
    return folder


@pytest.fixture
def copied(model, tmp_path):
    return shutil.copytree(model, tmp_path / "copied")


def images_of(people):
    files = sorted((people / "images").rglob("*.jpg"))
    return np.stack([np.asarray(Image.open(path)) for path in files])


def test_the_folder_holds_what_the_heads_need(model):
    assert sorted(path.name for path in model.iterdir()) == [
        "attributes.safetensors",
        "config.json",
        "log.jsonl",
        "model.safetensors",
        "training.json",
    ]
    described = json.loads((model / "config.json").read_text())
    assert described["format_version"] == 1  # earlier versions embed with it
    assert described["attributes"] == {
        "pose": {"numbers": ["yaw", "pitch", "roll"]},
        "age": {"numbers": ["age"]},
        "expression": {"classes": [*EXPRESSIONS]},
        "gender": {"classes": ["female", "male"]},
    }
    assert not [n for n in checkpoint.load_network(model).state_dict() if "head" in n]


def test_a_silenced_head_is_not_kept(people, tmp_path):
    config = dataclasses.replace(
        CONFIG, tasks=("identity", "age"), task_weights={"age": 0}, epochs=0.3
    )
    train_recogniser(people, tmp_path / "c", config)
    assert not (tmp_path / "c" / "attributes.safetensors").exists()
    assert "attributes" not in json.loads((tmp_path / "c/config.json").read_text())


@pytest.mark.parametrize("flip", [True, False])
def test_the_file_holds_what_numpy_makes_of_outputs_and_heads(
    people, model, tmp_path, flip
):
    made = embed_folder(
        people, tmp_path / "a.npz", model=model, flip=flip, attributes=True
    )
    plain = embed_folder(people, tmp_path / "p.npz", model=model, flip=flip)
    np.testing.assert_allclose(made.embeddings, plain.embeddings, atol=1e-6)
    assert plain.predicted is None
    images, network = images_of(people), checkpoint.load_network(model).eval()
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        outputs = [network(x).numpy()]
        outputs += [network(x.flip(3)).numpy()] if flip else []
    weights = load_heads(model, checkpoint.read_config(model)).heads

    def linear(name, out):
        state = {k: v.numpy() for k, v in weights[name].state_dict().items()}
        return state, out @ state["linear.weight"].T + state["linear.bias"]

    poses, ages, chances = [], [], []
    for sign, out in zip((1, -1), outputs, strict=False):
        state, values = linear("pose", out)
        poses.append((state["centre"] + state["scale"] * values) * [sign, 1, sign])
        state, values = linear("age", out)
        ages.append((state["centre"] + state["scale"] * values)[:, 0])
        values = np.exp(linear("expression", out)[1])
        chances.append(values / values.sum(1, keepdims=True))
    pose, age, chance = (np.mean(each, 0) for each in (poses, ages, chances))
    found = load_embeddings(tmp_path / "a.npz").predicted
    for i, field in enumerate(("yaw", "pitch", "roll")):
        assert found[field].dtype == np.float32
        np.testing.assert_allclose(found[field], pose[:, i], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(found["age"], age, rtol=1e-3, atol=1e-2)
    assert found["expression"].tolist() == [EXPRESSIONS[i] for i in chance.argmax(1)]
    np.testing.assert_allclose(
        found["expression_probability"], chance.max(1), rtol=1e-3, atol=1e-4
    )
    assert {*found["gender"]} <= {"female", "male"}
    assert (found["gender_probability"] >= 0.5).all()


def test_it_is_resumed_to_the_same_bits_with_all_that_there_is(
    people, tmp_path, monkeypatch
):
    config = dataclasses.replace(
        CONFIG, task_weighting="uncertainty", attention="demographic", epochs=3.0
    )
    step = loop.train_step

    def fail(*arguments, progress, **settings):
        if progress > 0.5:
            raise OSError("the disk is full")
        return step(*arguments, progress=progress, **settings)

    settings = {"num_threads": 1, "checkpoint_minutes": 0}
    with monkeypatch.context() as patch, pytest.raises(OSError, match="is full"):
        patch.setattr(loop, "train_step", fail)
        train_recogniser(people, tmp_path / "resumed", config, **settings)
    for name in ("resumed", "whole"):
        train_recogniser(people, tmp_path / name, config, **settings)
    for file in ("model.safetensors", "attributes.safetensors", "config.json"):
        one, two = ((tmp_path / n / file).read_bytes() for n in ("resumed", "whole"))
        assert one == two, file


def test_the_command_writes_and_names_them(people, model, tmp_path, call):
    code, printed, _ = call(
        command,
        images=people,
        output=tmp_path / "q.npz",
        model=model,
        attributes=True,
    )
    command.FLAGS["attributes"].unparse()  # other tests give flags of their own
    assert code == 0
    assert "by multi, with age, expression, gender, pitch, roll, yaw" in printed
    settings = load_embeddings(tmp_path / "q.npz").metadata["created_with"]["settings"]
    assert len(settings["attributes"]) == 64
    with pytest.raises(InputError, match="other settings"):
        embed_folder(people, tmp_path / "q.npz", model=model)


def test_a_model_without_heads_is_refused_in_one_line(people, tmp_path):
    with pytest.raises(InputError, match="recogniser_f: reads no attributes") as no:
        embed_folder(people, tmp_path / "a.npz", attributes=True)
    assert "\n" not in str(no.value) and not (tmp_path / "a.npz").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pose": {"numbers": ["yaw"]}}, "weights of another network"),
        ({"pose": {"angles": ["yaw"]}}, "expected numbers or classes"),
        ({"pose": ["yaw"]}, "describes no network"),
        (["pose"], "describes no network"),
    ],
)
def test_heads_of_another_description_are_refused(copied, change, reason):
    described = json.loads((copied / "config.json").read_text())
    described["attributes"] = change
    (copied / "config.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match=reason):
        load_recogniser(copied)


def test_damaged_heads_are_refused_by_name(copied):
    (copied / "attributes.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"attributes\.safetensors: damaged"):
        load_recogniser(copied)
    (copied / "attributes.safetensors").unlink()
    with pytest.raises(InputError, match=r"attributes\.safetensors"):
        load_recogniser(copied)


ROWS = np.eye(3, dtype=np.float32)


@pytest.mark.parametrize(
    ("predicted", "reason"),
    [
        ({"yaw": [1.0, 2.0]}, "predicted_yaw is"),
        ({"yaw": [1.0, 2.0, np.nan]}, "3 finite numbers"),
        ({"mood": ["sad", "sad", 3]}, "predicted_mood: entry 2 is 3"),
        ({7: [1.0, 2.0, 3.0]}, "7 can't be an attribute's name"),
        ([1.0], "expected values by attribute"),
    ],
)
def test_unfit_attributes_are_not_written(tmp_path, predicted, reason):
    with pytest.raises(InputError, match=reason):
        save_embeddings(tmp_path / "a.npz", ROWS, kind="gallery", predicted=predicted)
    assert not [*tmp_path.iterdir()]


def test_unfit_attributes_are_not_read(tmp_path):
    np.savez(tmp_path / "a.npz", embeddings=ROWS, predicted_age=np.arange(3))
    with pytest.raises(InputError, match=r"predicted_age is int64 \(3,\)"):
        load_embeddings(tmp_path / "a.npz")


def test_attributes_come_back_as_they_were_written(tmp_path):
    predicted = {"age": np.float32([1, 2, 3]), "mood": ["sad", "grin", "sad"]}
    save_embeddings(tmp_path / "a.npz", ROWS, kind="queries", predicted=predicted)
    found = load_embeddings(tmp_path / "a.npz").predicted
    assert {*found} == {"age", "mood"} and found["mood"].tolist() == predicted["mood"]
    np.testing.assert_array_equal(found["age"], predicted["age"])
