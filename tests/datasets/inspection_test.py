"""Inspection: counts against those planted, and every planted fault found."""

import hashlib
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bridges import inspect_images
from bridges.cli import inspect as command
from bridges.datasets.decoding import UnreadableImage, stored_as
from bridges.datasets.image_source import open_images
from bridges.datasets.images import encode_jpeg
from tests.datasets.catalogues.trees import write_images
from tests.datasets.small_datasets import picture, write_dataset
from tests.report.page_parser import Page

COUNTS = {"ann": 1, "bob": 4, "carl": 2}


@pytest.fixture
def people(tmp_path):
    """Seven images of three people, of two formats and sizes."""
    folder = tmp_path / "people"
    number = 0
    for person, count in COUNTS.items():
        (folder / person).mkdir(parents=True)
        for k in range(count):
            number += 1
            image = Image.fromarray(picture(number, 16 if k else 24))
            image.save(folder / person / (f"{k}.jpg" if k else "0.png"))
    return folder


@pytest.fixture
def faulty(people):
    """Planted: a file twice with ann, one of carl's with bob, and two torn ones."""
    shutil.copy(people / "ann/0.png", people / "ann/9.png")
    shutil.copy(people / "carl/1.jpg", people / "bob/8.jpg")
    torn = (people / "bob/0.png").read_bytes()[:-40]
    (people / "carl/6.png").write_bytes(torn)
    (people / "carl/7.jpg").write_bytes(b"")
    return people


def test_a_sound_collection_is_counted(people):
    found = inspect_images(people)
    assert (found.num_images, found.num_people) == (7, 3)
    assert found.images_per_person == {"min": 1, "median": 2, "max": 4}
    assert found.sizes == {(16, 16): 4, (24, 24): 3}
    assert list(found.formats.items()) == [("JPEG", 4), ("PNG", 3)]
    assert not found.unreadable and not found.duplicates and not found.groups


def test_planted_faults_are_found_and_no_others(faulty):
    found = inspect_images(faulty)
    assert found.num_images == 11
    assert list(found.unreadable) == ["carl/6.png", "carl/7.jpg"]
    assert "the file is empty" in found.unreadable["carl/7.jpg"]
    duplicates = [(list(d.names), list(d.people)) for d in found.duplicates]
    assert duplicates == [
        (["bob/8.jpg", "carl/1.jpg"], ["bob", "carl"]),
        (["ann/0.png", "ann/9.png"], ["ann"]),
    ]
    assert (found.num_repeated, found.num_across_people) == (2, 1)


def test_duplicates_are_those_of_equal_bytes(tmp_path):
    random = np.random.default_rng(0)
    contents = [encode_jpeg(picture(seed)) for seed in range(20)]
    chosen = random.integers(20, size=60)
    for number, which in enumerate(chosen):
        (tmp_path / f"{number:02d}.jpg").write_bytes(contents[which])
    by_digest = {}
    for path in sorted(tmp_path.iterdir()):
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        by_digest.setdefault(digest, []).append(path.name)
    found = inspect_images(tmp_path)
    expected = sorted(names for names in by_digest.values() if len(names) > 1)
    assert [list(each.names) for each in found.duplicates] == expected
    assert found.num_repeated == 60 - len(set(chosen))
    assert found.num_people is None and found.num_across_people == 0


def test_groups_count_images_and_people(tmp_path):
    names = ["0_Ann_35_f.jpg", "1_Ann_36_f.jpg", "2_Bob_41_m.jpg"]
    write_images(tmp_path, names)
    groups = inspect_images(tmp_path, identity_from="agedb").groups
    assert groups["gender"] == {
        "female": {"images": 2, "people": 1},
        "male": {"images": 1, "people": 1},
    }
    assert list(groups["age_group"]) == ["30-39", "40-49"]


def test_an_attribute_of_each_image_is_no_group(tmp_path):
    folder = tmp_path / "faces"
    names = [f"{i}.png" for i in range(101)]
    write_images(folder, names, size=4)
    lines = [{"file_name": n, "identity": "a", "camera": n, "gender": 1} for n in names]
    text = "\n".join(map(json.dumps, lines))
    (folder / "metadata.jsonl").write_text(text)
    assert list(inspect_images(folder).groups) == ["gender"]


def test_an_opened_source_is_taken_as_it_is(people):
    assert inspect_images(open_images(people)) == inspect_images(people)


def test_format_and_size_are_the_stored_ones_whatever_the_metadata(tmp_path):
    image, path = Image.new("RGB", (7, 5)), tmp_path / "a.png"
    notes = PngInfo()
    # Pillow refuses to open such an image.
    notes.add_text("notes", "x" * 2**21, zip=True)
    image.save(path, pnginfo=notes)
    with pytest.raises(ValueError, match="too large"):
        Image.open(path)
    assert stored_as(path.read_bytes(), "a") == ("PNG", (7, 5))
    assert inspect_images(tmp_path).sizes == {(7, 5): 1}
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=turned)
    assert stored_as((tmp_path / "a.jpg").read_bytes(), "a") == ("JPEG", (7, 5))
    with pytest.raises(UnreadableImage, match=r"a: .* \(the file is empty\)"):
        stored_as(b"", "a")


def test_the_command_prints_a_summary(call, faulty):
    code, output, errors = call(command, images=faulty)
    assert code == 0 and "11 images of 3 people: ann, bob, carl" in errors
    lines = output.splitlines()
    assert lines[0] == "11 images of 3 people"
    assert "images a person: 2 to 5, median 4" in lines
    assert "sizes: 16 x 16 (5), 24 x 24 (4)" in lines
    assert lines[-2].startswith("unreadable: 2: carl/6.png: not a readable image")
    assert lines[-1] == (
        "duplicates by content: 2 (1 across people): bob/8.jpg = carl/1.jpg; "
        "ann/0.png = ann/9.png"
    )


def test_the_command_writes_record_sheet_and_page(call, faulty, tmp_path):
    output = tmp_path / "inspection"
    code, printed, _ = call(command, images=faulty, output=output)
    assert code == 0 and printed.splitlines()[-1] == str(output / "index.html")
    record = json.loads((output / "inspection.json").read_text())
    assert record["duplicates"][0]["people"] == ["bob", "carl"]
    assert record["sizes"] == [[16, 16, 5], [24, 24, 4]]
    # Rows of 2, 5 and 4 images, less the torn ones of carl's and with their gaps.
    sheet = np.asarray(Image.open(output / "contact_sheet.png"))
    assert sheet.shape == (3 * 116 + 4, 5 * 116 + 4, 3)
    page = Page((output / "index.html").read_text())
    assert page.sections == "inspection people groups duplicates unreadable".split()
    assert len(page.sources) == 2 + 5 + 2
    assert all(source.startswith("data:image/jpeg") for source in page.sources)
    for text in ("carl/7.jpg", "bob/8.jpg, carl/1.jpg", "No attribute groups every"):
        assert text in page.text
    code, again, _ = call(command, images=faulty, output=output)
    assert (code, again) == (0, printed), "an inspection is made anew"


def test_a_flat_folder_has_a_sheet_and_a_page(call, tmp_path):
    write_images(tmp_path / "flat", [f"{i:02d}.jpg" for i in range(50)])
    output = tmp_path / "inspection"
    code, printed, _ = call(command, images=tmp_path / "flat", output=output)
    assert code == 0
    assert printed.startswith("50 images, nothing says who is on them\n")
    sheet = np.asarray(Image.open(output / "contact_sheet.png"))
    assert sheet.shape == (4 * 116 + 4, 12 * 116 + 4, 3)
    page = Page((output / "index.html").read_text())
    assert len(page.sources) == 48 and "No two images are the same" in page.text


def test_one_image_and_none_that_can_be_read(call, tmp_path):
    folder, output = tmp_path / "one", tmp_path / "inspection"
    write_images(folder, ["a.jpg"])
    code, printed, _ = call(command, images=folder, output=output)
    assert code == 0 and printed.startswith("1 image, nothing says")
    assert (output / "contact_sheet.png").exists()
    (folder / "a.jpg").write_bytes(b"torn")
    code, printed, _ = call(command, images=folder, output=output)
    assert code == 0 and "sizes: none\n" in printed and "unreadable: 1" in printed
    assert not (output / "contact_sheet.png").exists()
    assert "None can be read." in Page((output / "index.html").read_text()).text


def test_names_need_not_be_utf_8_and_are_never_markup(call, tmp_path):
    folder = tmp_path / "faces"
    names = [os.fsdecode(b"j\xf6rg/1.jpg"), "<i>&amp/2.jpg"]
    write_images(folder, names)
    shutil.copy(folder / names[0], folder / os.fsdecode(b"j\xf6rg/3.jpg"))
    output = tmp_path / "inspection"
    code, printed, _ = call(command, images=folder, output=output)
    assert code == 0 and "duplicates by content: 1 (0 across people)" in printed
    record = json.loads((output / "inspection.json").read_text())
    assert record["duplicates"][0]["names"][0] == names[0]
    content = (output / "index.html").read_bytes()
    assert b"<i>" not in content and b"j\xf6rg/1.jpg" in content
    Page(content.decode(errors="replace"))


def test_a_dataset_of_ours_keeps_numbers_as_people(call, tmp_path):
    write_dataset(tmp_path / "dataset")
    output = tmp_path / "inspection"
    code, printed, _ = call(command, images=tmp_path / "dataset", output=output)
    assert code == 0 and printed.startswith("6 images of 3 people\n")
    assert (output / "contact_sheet.png").exists()


@pytest.mark.parametrize(
    "what", ["empty", "missing", "file", "foreign", "page", "inside"]
)
def test_refusals_are_one_line(call, people, tmp_path, what):
    images, output = people, tmp_path / "inspection"
    if what == "empty":
        images = tmp_path / "empty"
        images.mkdir()
    elif what == "missing":
        images = tmp_path / "missing"
    elif what == "file":
        output.write_text("mine")
    elif what == "inside":
        output = people / "ann" / "inspection"
    else:
        output.mkdir()
        name = "notes.txt" if what == "foreign" else "index.html"
        (output / name).write_text("mine")
        if what == "page":
            (output / "inspection.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    code, printed, errors = call(command, images=images, output=output)
    assert (code, printed, errors.count("\n")) == (2, "", 1)
    reason = {
        "empty": "empty: no images in it",
        "missing": "missing: no such folder",
        "inside": "ann/inspection: lies in the folder of the images",
        "file": "inspection: is a file, expected a folder",
        "foreign": "holds 'notes.txt' but no inspection.json",
        "page": "index.html: exists and is not a report by hyperface_jax",
    }
    assert reason[what] in errors
    assert sorted(tmp_path.rglob("*")) == before
