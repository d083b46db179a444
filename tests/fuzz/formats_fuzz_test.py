"""Damaged archives and datasets of other formats are read, or refused by name."""

import shutil

import pytest

from bridges.datasets.conversion import convert_images
from bridges.datasets.image_source import open_images
from bridges.datasets.images import UnreadableImage
from tests.formats.people import write_people
from tests.fuzz.readers import survive

# What in each format is damaged; the archive itself where it is one file.
FILES = [
    ("recordio", "train.rec"),
    ("recordio", "train.idx"),
    ("recordio", "train.lst"),
    ("recordio", "labels.csv"),
    ("recordio", "records.jsonl"),
    ("webdataset", "faces-000000.tar"),
    ("zip", None),
    ("lmdb", "data.mdb"),
    ("hugging_face", "data-00000.arrow"),
    ("hugging_face", "state.json"),
    ("hugging_face", "dataset_info.json"),
    ("stylegan", "dataset.json"),
    ("stylegan", "labels.csv"),
]


def read(path) -> None:
    """Lists what is at a path, and reads every image of it."""
    source = open_images(path)
    assert len(source.labels) == len(source.records) == len(source)
    source.fingerprint()
    for i in range(len(source)):
        try:
            source.read(i)
        except UnreadableImage as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("format, name", FILES)
def test_formats(tmp_path, format, name):
    people = write_people(tmp_path / "people", images=2)
    made = tmp_path / ("made.zip" if format == "zip" else "made")
    convert_images(people, made, format=format)
    path = made if name is None else made / name
    survive(path, path.read_bytes(), lambda _: read(made))


def test_records_without_an_index(tmp_path):
    convert_images(
        write_people(tmp_path / "people", 2), tmp_path / "a", format="recordio"
    )
    (tmp_path / "a" / "train.idx").unlink()
    path = tmp_path / "a" / "train.rec"
    survive(path, path.read_bytes(), read)


def test_tables_of_metadata(tmp_path):
    (tmp_path / "1.png").write_bytes(b"x")
    table = b'file_name,identity,note\n1.png,7,"a ""b"",\nc"\nx/2.png,8,\n'
    survive(tmp_path / "metadata.csv", table, lambda path: read(path.parent))


def test_states_of_conversions(tmp_path, monkeypatch):
    """A state that was damaged between two runs ends neither in a crash nor a wait."""
    monkeypatch.setattr("bridges.datasets.format_output._EVERY", -1.0)
    people = write_people(tmp_path / "people", images=1)

    def stop(self, texts):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(
            "bridges.datasets.formats.recordio_writer.RecordIOWriter.finish", stop
        )
        with pytest.raises(KeyboardInterrupt):
            convert_images(people, tmp_path / "a", format="recordio")
    shutil.move(tmp_path / "a", tmp_path / "kept")
    state = tmp_path / "kept" / ".unfinished" / "state.json"

    def go_on(path):
        shutil.copytree(path.parent.parent, tmp_path / "a")
        try:
            convert_images(people, tmp_path / "a", format="recordio")
        finally:
            shutil.rmtree(tmp_path / "a")

    survive(state, state.read_bytes(), go_on)
