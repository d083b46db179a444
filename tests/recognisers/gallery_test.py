"""Embedding of folders: file contract, refusals, the command."""

import json
import pathlib

import numpy as np
import pytest
import torch
from PIL import Image

from bridges.cli import embed as command
from bridges.datasets.image_dataset import ImageDatasetWriter
from bridges.recognisers.gallery import embed_folder
from bridges.recognisers.recogniser import load_recogniser
from bridges.recognition.backbones import build_backbone
from bridges.recognition.checkpoint import save_network
from hyperface_jax import InputError, load_embeddings


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    torch.manual_seed(0)
    save_network(
        folder,
        build_backbone("iresnet_small", image_size=32, embedding_size=16),
        {"backbone": "iresnet_small", "image_size": 32, "embedding_size": 16},
    )
    return folder


@pytest.fixture
def people(tmp_path) -> pathlib.Path:
    rng = np.random.default_rng(0)
    for name in ("ann/0.png", "ann/1.png", "bob/0.png"):
        path = tmp_path / "people" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
    return tmp_path / "people"


def test_file_holds_embeddings_labels_names_and_model(people, model, tmp_path):
    written = embed_folder(people, tmp_path / "g.npz", model=model)
    recogniser = load_recogniser(model)
    read = load_embeddings(tmp_path / "g.npz", kind="gallery", model=recogniser.model)
    np.testing.assert_array_equal(read.embeddings, written.embeddings)
    assert read.labels.tolist() == [0, 0, 1]
    assert read.names.tolist() == ["ann/0.png", "ann/1.png", "bob/0.png"]
    images = [
        np.asarray(Image.open(people / n).resize((32, 32), Image.Resampling.BICUBIC))
        for n in read.names
    ]
    np.testing.assert_allclose(
        read.embeddings, recogniser.embed(np.stack(images)), atol=1e-5
    )


def test_flat_folder_has_names_but_no_labels(people, model, tmp_path):
    result = embed_folder(people / "ann", tmp_path / "g.npz", model=model)
    assert result.labels is None
    assert result.names.tolist() == ["0.png", "1.png"]


def test_same_call_returns_and_another_is_refused(people, model, tmp_path):
    embed_folder(people, tmp_path / "g.npz", model=model)
    before = (tmp_path / "g.npz").read_bytes()
    embed_folder(people, tmp_path / "g.npz", model=model)
    assert (tmp_path / "g.npz").read_bytes() == before
    with pytest.raises(InputError, match=r"flip = True, asked for False"):
        embed_folder(people, tmp_path / "g.npz", model=model, flip=False)
    with pytest.raises(InputError, match="images"):
        embed_folder(people / "ann", tmp_path / "g.npz", model=model)


def test_precision_is_a_setting_and_the_device_is_none(people, model, tmp_path):
    made = embed_folder(people, tmp_path / "g.npz", model=model, device="cpu")
    settings = made.metadata["created_with"]["settings"]
    assert set(settings) == {"images", "groups", "model", "flip", "kind"}
    embed_folder(people, tmp_path / "g.npz", model=model)
    with pytest.raises(InputError, match=r"made with other settings \(precision\)"):
        embed_folder(people, tmp_path / "g.npz", model=model, precision="bfloat16")


def test_other_groups_are_refused(people, model, tmp_path):
    metadata = people / "metadata.jsonl"
    record = {"file_name": "ann/0.png", "identity": 0}
    metadata.write_text(json.dumps(record))
    embed_folder(people, tmp_path / "g.npz", model=model)
    metadata.write_text(json.dumps(record | {"gender": "female"}))
    with pytest.raises(InputError, match="made with other groups"):
        embed_folder(people, tmp_path / "g.npz", model=model)
    found = embed_folder(people, tmp_path / "new.npz", model=model)
    assert found.groups["gender"].tolist() == ["female"]


def test_corrupt_image_is_named_and_nothing_is_written(people, model, tmp_path):
    (people / "bob" / "0.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"bob/0\.png.*empty"):
        embed_folder(people, tmp_path / "g.npz", model=model)
    assert not (tmp_path / "g.npz").exists()


def test_command_passes_every_flag_on(people, model, tmp_path, capsys):
    arguments = [
        "hyperface-embed",
        f"--images={people}",
        f"--output={tmp_path / 'q.npz'}",
        f"--model={model}",
        "--noflip",
        "--kind=queries",
    ]
    command.FLAGS(arguments)
    try:
        command.main()
    finally:
        for name in command.FLAGS:
            command.FLAGS[name].unparse()
    result = load_embeddings(tmp_path / "q.npz", kind="queries")
    assert result.metadata["created_with"]["settings"]["flip"] is False
    assert "3 embeddings of 16 numbers by tiny" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [([], "--images is missing"), (["--images=x"], "--output is missing")],
)
def test_command_asks_for_what_it_needs(arguments, reason):
    command.FLAGS(["hyperface-embed", *arguments])
    try:
        with pytest.raises(InputError, match=reason):
            command.main()
    finally:
        for name in command.FLAGS:
            command.FLAGS[name].unparse()


def test_recogniser_f_says_that_it_knows_no_photographs(tmp_path, capsys):
    folder = tmp_path / "faces" / "ann"
    folder.mkdir(parents=True)
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(folder / "1.png")
    embed_folder(tmp_path / "faces", tmp_path / "a.npz")
    assert "recogniser_f knows rendered faces only" in capsys.readouterr().err
    settings = {"image_size": 64}
    with ImageDatasetWriter(tmp_path / "b", settings=settings, kind="rendered") as made:
        made.write(
            np.full((64, 64, 3), 90, np.uint8), {"identity": 0, "index": 0, "seed": 0}
        )
        made.finish()
    embed_folder(tmp_path / "b", tmp_path / "b.npz")
    assert "rendered faces only" not in capsys.readouterr().err
