"""Datasets of Hugging Face's library, saved on disk and imagefolders, both ways."""

import json
import pickle

import datasets
import pyarrow as pa
import pytest

from bridges.datasets.conversion import convert_images
from bridges.datasets.formats import hugging_face_writer
from bridges.datasets.image_source import open_images
from hyperface_jax import InputError
from tests.formats.people import content_of, png, read, write_people


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def save(folder, columns, features, **how):
    dataset = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    dataset.save_to_disk(folder, **how)
    return folder


def images(count):
    return [{"bytes": png(i), "path": f"{i}.png"} for i in range(count)]


IMAGE, NUMBER = datasets.Image(), datasets.Value("int64")


def test_named_labels_of_others(tmp_path):
    label = datasets.ClassLabel(names=["bob", "ann", "nobody"])
    columns = {"photo": images(5), "label": [1, 0, 1, 1, 0], "age": [1, 2, 3, 4, 5]}
    features = {"photo": IMAGE, "label": label, "age": NUMBER}
    folder = save(tmp_path / "a", columns, features, num_shards=2)
    source = pickle.loads(pickle.dumps(open_images(folder)))
    names = ["ann", "bob", "ann", "ann", "bob"]
    assert content_of(source) == [(name, png(i)) for i, name in enumerate(names)]
    assert source.records[2] == {"file_name": "2.png", "age": 3}


@pytest.mark.parametrize("column", ["label", "identity"])
def test_numbers_names_and_none(tmp_path, column):
    columns = {"image": images(2), column: [7, 3]}
    found = open_images(save(tmp_path / "a", columns, {"image": IMAGE, column: NUMBER}))
    assert found.identities == [3, 7] and found.labels.tolist() == [1, 0]
    text = {"image": IMAGE, column: datasets.Value("string")}
    columns[column] = ["x", "y"]
    assert open_images(save(tmp_path / "b", columns, text)).identities == ["x", "y"]
    alone = save(tmp_path / "c", {"image": images(2)}, {"image": IMAGE})
    assert not open_images(alone).labelled


def test_the_library_reads_what_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(hugging_face_writer, "_FILE_IMAGES", 4)
    monkeypatch.setattr(hugging_face_writer, "_BATCH_IMAGES", 3)
    people = write_people(tmp_path / "people")
    convert_images(people, tmp_path / "a", format="hugging_face")
    expected = content_of(open_images(people))
    assert len(list((tmp_path / "a").glob("*.arrow"))) == 3
    found = datasets.load_from_disk(tmp_path / "a")
    assert found[0]["image"].size == (16, 16)
    names = found.features["label"].names
    plain = found.cast_column("image", datasets.Image(decode=False))
    assert [(names[row["label"]], row["image"]["bytes"]) for row in plain] == expected
    assert read(tmp_path / "a") == expected


def test_the_library_reads_our_imagefolder(tmp_path):
    people = write_people(tmp_path / "people")
    convert_images(people, tmp_path / "a", format="imagefolder")
    expected = content_of(open_images(people))
    found = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "a"), split="train"
    ).cast_column("image", datasets.Image(decode=False))
    paths = [row["image"]["path"] for row in found]
    contents = {
        (row["identity"], open(p, "rb").read())
        for row, p in zip(found, paths, strict=True)
    }
    assert contents == set(expected) and len(found) == len(expected)
    assert read(tmp_path / "a") == expected


def test_splits_are_to_be_chosen(tmp_path):
    features = datasets.Features({"image": IMAGE})
    one = datasets.Dataset.from_dict({"image": images(1)}, features=features)
    datasets.DatasetDict(train=one, test=one).save_to_disk(tmp_path / "a")
    with pytest.raises(
        InputError, match="several splits; give the folder of one: test,"
    ):
        open_images(tmp_path / "a")
    assert len(open_images(tmp_path / "a" / "train")) == 1


def test_what_holds_no_images_is_refused(tmp_path):
    numbers = save(tmp_path / "a", {"label": [1]}, {"label": NUMBER})
    with pytest.raises(InputError, match="columns label, none of them holds images"):
        open_images(numbers)
    (tmp_path / "x.png").write_bytes(png(0))
    features = {"image": IMAGE}
    paths = {"image": [{"bytes": None, "path": str(tmp_path / "x.png")}]}
    dataset = datasets.Dataset.from_dict(paths, features=datasets.Features(features))
    dataset.save_to_disk(tmp_path / "b")
    state = json.loads((tmp_path / "b" / "state.json").read_text())
    arrow = tmp_path / "b" / state["_data_files"][0]["filename"]
    schema = pa.schema(
        [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    )
    with pa.ipc.new_stream(str(arrow), schema) as stream:
        stream.write_batch(
            pa.record_batch([pa.array(paths["image"], schema[0].type)], schema=schema)
        )
    with pytest.raises(InputError, match="keeps the paths of images, not their bytes"):
        open_images(tmp_path / "b")


def test_damaged_folders_are_refused(tmp_path):
    folder = save(tmp_path / "a", {"image": images(3)}, {"image": IMAGE})
    (arrow,) = folder.glob("*.arrow")
    content = arrow.read_bytes()
    for size in (0, 10, 100, len(content) // 2):
        arrow.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"not a readable Arrow stream|no images"):
            open_images(folder)
    state = json.loads((folder / "state.json").read_text())
    for name, words in (("../x.arrow", "would lie outside"), ("gone.arrow", "no such")):
        state["_data_files"] = [{"filename": name}]
        (folder / "state.json").write_text(json.dumps(state))
        with pytest.raises(InputError, match=words):
            open_images(folder)
    (folder / "state.json").write_text("{}")
    with pytest.raises(InputError, match="lists no files"):
        open_images(folder)


def test_compressed_columns_are_refused(tmp_path):
    folder = save(tmp_path / "a", {"image": images(3)}, {"image": IMAGE})
    (arrow,) = folder.glob("*.arrow")
    table = pa.ipc.open_stream(arrow.read_bytes()).read_all()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(str(arrow), table.schema, options=options) as stream:
        stream.write_table(table)
    with pytest.raises(InputError, match="columns are compressed"):
        open_images(folder)
