"""Which folder is taken for what, StyleGAN's labels and tables of metadata."""

import json

import pytest

from bridges.datasets.conversion import convert_images
from bridges.datasets.formats.hugging_face import SavedDataset
from bridges.datasets.formats.lmdb_file import LmdbFile
from bridges.datasets.formats.recordio import RecordIO
from bridges.datasets.formats.stylegan import StyleGanFolder
from bridges.datasets.formats.webdataset import WebDataset
from bridges.datasets.image_dataset import ImageDataset
from bridges.datasets.image_source import open_images
from hyperface_jax import InputError
from tests.datasets.small_datasets import write_dataset
from tests.formats.people import content_of, png, read, write_people

KINDS = {
    "folder": ImageDataset,
    "imagefolder": ImageDataset,
    "recordio": RecordIO,
    "webdataset": WebDataset,
    "lmdb": LmdbFile,
    "hugging_face": SavedDataset,
    "stylegan": StyleGanFolder,
}


@pytest.mark.parametrize("format", KINDS)
def test_a_folder_is_known_by_what_is_in_it(tmp_path, format):
    convert_images(write_people(tmp_path / "people"), tmp_path / "a", format=format)
    assert type(open_images(tmp_path / "a")) is KINDS[format]


@pytest.mark.parametrize("name", ["backup.tar", "train.rec", "dataset.json"])
def test_a_folder_of_images_stays_one(tmp_path, name):
    """Archives that happen to lie in a dataset don't take its place."""
    write_dataset(tmp_path / "a")
    if name != "dataset.json":
        (tmp_path / "a" / name).write_bytes(b"x")
    assert type(open_images(tmp_path / "a")) is ImageDataset
    people = write_people(tmp_path / "people")
    (people / "backup.tar").write_bytes(b"x")
    assert type(open_images(people)) is ImageDataset


def write_stylegan(folder, labels, count=3):
    (folder / "00000").mkdir(parents=True)
    for i in range(count):
        (folder / "00000" / f"img{i}.png").write_bytes(png(i))
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder


def test_labels_of_stylegan(tmp_path):
    names = [f"00000/img{i}.png" for i in range(3)]
    labels = [[names[2], 5], [names[0], 5]]
    source = open_images(write_stylegan(tmp_path / "a", labels))
    assert content_of(source) == [(5, png(2)), (5, png(0))]
    assert source.left_out["not in dataset.json"] == [names[1]]
    source = open_images(write_stylegan(tmp_path / "b", None))
    assert not source.labelled and len(source) == 3


@pytest.mark.parametrize(
    "labels, words",
    [
        ([["00000/img0.png", True]], "the label of 00000/img0.png is True"),
        ([["../img0.png", 1]], r"names \.\./img0\.png, which is not below"),
        ([["/img0.png", 1]], "which is not below the folder"),
        ([["a.png", 1], ["a.png", 2]], r"names a\.png twice"),
    ],
)
def test_other_labels_of_stylegan_are_refused(tmp_path, labels, words):
    with pytest.raises(InputError, match=words):
        open_images(write_stylegan(tmp_path / "a", labels))


def test_what_stylegan_reads(tmp_path):
    """Its loader makes a dictionary of the labels and looks up every image in it."""
    people = write_people(tmp_path / "people")
    convert_images(people, tmp_path / "a", format="stylegan")
    labels = dict(json.loads((tmp_path / "a/dataset.json").read_text())["labels"])
    found = [
        path.relative_to(tmp_path / "a").as_posix()
        for path in sorted((tmp_path / "a").rglob("*"))
        if path.suffix in (".png", ".jpg")
    ]
    images = [(labels[name], (tmp_path / "a" / name).read_bytes()) for name in found]
    source = open_images(people)
    expected = [(int(n), source.read(i)) for i, n in enumerate(source.labels)]
    assert images == expected


def write_table(folder, text):
    (folder / "x").mkdir(parents=True)
    for name in ("x/1.png", "2.png", "3.png"):
        (folder / name).write_bytes(png(int(name[-5])))
    (folder / "metadata.csv").write_text(text, "utf-8")
    return folder


@pytest.mark.parametrize("column", ["identity", "label"])
def test_a_table_of_metadata(tmp_path, column):
    text = f'note,file_name,{column}\n"a, ""b""\nc",x/1.png,7\n,2.png,11\n'
    source = open_images(write_table(tmp_path / "a", text))
    assert content_of(source) == [(7, png(1)), (11, png(2))]
    assert source.records[0] == {
        "file_name": "x/1.png",
        "identity": 7,
        "note": 'a, "b"\nc',
    }
    assert source.left_out["not in metadata.csv"] == ["3.png"]
    source = open_images(write_table(tmp_path / "b", text.replace("11", "eleven")))
    assert source.identities == ["7", "eleven"]


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "its first line is '', expected different columns, of them file_name"),
        ("file_name,who\nx/1.png,7\n", "its first line is 'file_name,who'"),
        ("file_name,label,label\n", "its first line is 'file_name,label,label'"),
        ("file_name,label\nx/1.png\n", "row 2 has 1 values, the first 2"),
        ("file_name,label\nx/1.png,\n", "line 2 has identity = '', expected"),
        ("file_name,label\n2.png,1\n./2.png,1\n", r"lines 2 and 3 both name 2\.png"),
        ('file_name,label\n"2.png,1\n', "not a table"),
    ],
)
def test_tables_that_say_nothing_are_refused(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        open_images(write_table(tmp_path / "a", text))


def test_names_of_a_converted_dataset_come_back(tmp_path):
    people = write_people(tmp_path / "people")
    convert_images(people, tmp_path / "a", format="folder")
    assert ImageDataset(tmp_path / "a").identities == ["ann", "bob", "zoë"]
    assert read(tmp_path / "a") == read(people)
