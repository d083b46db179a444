"""Where a dataset goes: any format, and what must not be written over."""

import contextlib
import pathlib

import pytest

from bridges import convert_images, open_images
from bridges.datasets.formats.writer import FORMATS
from bridges.datasets.image_dataset import ImageDataset
from bridges.generation.dataset_output import DatasetOutput
from hyperface_jax import InputError
from tests.generation.painted_world import content_of, generate

OTHERS = [name for name in FORMATS if name != "folder"]


@pytest.mark.parametrize("format", OTHERS)
def test_other_formats_hold_what_the_folder_holds(crowd, tmp_path, format):
    suffix = ".zip" if FORMATS[format].is_file else ""
    output, converted = tmp_path / f"made{suffix}", tmp_path / f"converted{suffix}"
    assert not generate(crowd, output, "1/2", format=format).complete
    assert generate(crowd, output, "2/2", format=format).complete
    assert sorted(path.name for path in tmp_path.iterdir()) == [output.name]
    convert_images(crowd / "whole", converted, format=format)
    made, expected = open_images(output), open_images(converted)
    assert len(made) == len(expected) == 280
    assert list(made.identities) == list(expected.identities)
    assert made.labels.tolist() == expected.labels.tolist()
    for row in range(280):
        assert made.read(row) == expected.read(row)
    source = ImageDataset(crowd / "whole")
    known = ("seed", "reference_cosine", "tries", "flag")
    for record, original in zip(made.records, source.records, strict=True):
        assert all(record[name] == original[name] for name in known)
    # It is known for finished, and for what it is.
    assert generate(crowd, output, format=format).complete
    with pytest.raises(InputError, match="seed = 0, asked for 1"):
        generate(crowd, output, format=format, seed=1)


@pytest.mark.parametrize("format", ["webdataset", "recordio"])
def test_other_formats_are_byte_equal_after_a_stop(
    crowd, tmp_path, format, monkeypatch
):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    generate(crowd, whole, format=format)
    write, left = FORMATS[format].write, [50]
    monkeypatch.setattr("bridges.datasets.format_output._EVERY", -1.0)

    def stop(self, image):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        write(self, image)

    monkeypatch.setattr(FORMATS[format], "write", stop)
    for _ in range(3):
        left[0] = 50
        with pytest.raises(KeyboardInterrupt):
            generate(crowd, torn, format=format)
    monkeypatch.setattr(FORMATS[format], "write", write)
    generate(crowd, torn, format=format)
    assert content_of(torn) == content_of(whole)


def test_a_file_is_not_written_over_a_folder(crowd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"is a folder, expected a file"):
        generate(crowd, pathlib.Path("."), format="zip")
    assert not list(tmp_path.iterdir())


def test_the_card_of_the_working_folder_has_its_name(crowd, tmp_path, monkeypatch):
    (tmp_path / "people").mkdir()
    monkeypatch.chdir(tmp_path / "people")
    assert generate(crowd, pathlib.Path(".")).complete
    assert "\n# people\n" in pathlib.Path("README.md").read_text()


def test_an_output_that_was_begun_in_another_format_is_refused(crowd, tmp_path):
    generate(crowd, tmp_path / "a", "1/2", format="webdataset")
    with pytest.raises(InputError, match=r"format = 'webdataset', asked"):
        generate(crowd, tmp_path / "a", "1/2")
    generate(crowd, tmp_path / "b", "1/2")
    with pytest.raises(InputError, match=r"format = 'folder', asked"):
        generate(crowd, tmp_path / "b", "1/2", format="webdataset")


def test_a_folder_of_something_else_is_left_alone(crowd, tmp_path):
    (tmp_path / "holiday.txt").write_text("mine")
    for format in ("folder", "webdataset"):
        with pytest.raises(InputError, match=r"holds 'holiday\.txt'"):
            generate(crowd, tmp_path, format=format)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


def test_who_begins_beside_one_of_other_settings_is_refused(
    crowd, tmp_path, monkeypatch
):
    """The other was first by a moment: between the look and the lock."""
    output, holding = tmp_path / "a", DatasetOutput.holding

    @contextlib.contextmanager
    def later(self):
        monkeypatch.setattr(DatasetOutput, "holding", holding)
        generate(crowd, output, "1/2", format="webdataset")
        with holding(self) as found:
            yield found

    monkeypatch.setattr(DatasetOutput, "holding", later)
    with pytest.raises(InputError, match="seed = 0, asked for 2"):
        generate(crowd, output, "2/2", format="webdataset", seed=2)
