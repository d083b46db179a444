"""What counts as an image in a folder, and what is left out and why."""

import os
import pathlib
import subprocess
import sys

import pytest
from PIL import Image

from bridges.datasets import folder_listing
from bridges.datasets.folder_listing import image_suffixes, list_images
from bridges.datasets.image_dataset import ImageDataset, open_images
from bridges.datasets.unreadable import check_source
from hyperface_jax import InputError
from tests.datasets.small_datasets import picture


def make(folder: pathlib.Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in (".jpg", ".png", ".gif", ".tif", ".avif", ".jfif"):
            Image.fromarray(picture(0)).save(path)
        else:
            path.write_bytes(b"P5 1 1 255\n\0" if path.suffix == ".pgm" else b"text")


def identities(folder: pathlib.Path, **options) -> dict[str, str]:
    dataset = ImageDataset(folder, **options)
    return {
        record["file_name"]: dataset.identities[label]
        for record, label in zip(dataset.records, dataset.labels, strict=True)
    }


def test_every_format_that_pillow_decodes_counts(tmp_path):
    names = ["a.jpg", "b.pgm", "c.tif", "d.gif", "e.jfif", "f.avif", "G.JPG"]
    make(tmp_path, *names)
    assert sorted(list_images(tmp_path).images) == sorted(names)
    assert {".jp2", ".bmp", ".webp", ".tga", ".mpo"} <= image_suffixes()
    # Only a program called by Pillow could draw these, or none at all.
    assert not {".eps", ".pdf", ".mpg", ".h5"} & image_suffixes()


def test_what_is_left_out_is_told_by_its_reason(tmp_path, capsys):
    make(tmp_path, "ann/1.jpg", "ann/notes.txt", "ann/.2.jpg", "bob/1.png")
    make(tmp_path, "ann/clip.MOV", "carl/letter.doc", "alignment.csv")
    dataset = open_images(tmp_path)
    assert dataset.left_out == {
        "not an image by its suffix": ["ann/notes.txt", "carl/letter.doc"],
        "a video; write its frames as images to use them": ["ann/clip.MOV"],
        "hidden": ["ann/.2.jpg"],
        "folder without images": ["carl"],
    }
    said = capsys.readouterr().err
    assert f"{tmp_path}: 2 images of 2 people: ann, bob\n" in said
    assert "left out 2, not an image by its suffix: ann/notes.txt, carl" in said
    assert "left out 1, folder without images: carl" in said


def test_heic_without_its_decoder_names_the_package(tmp_path, monkeypatch):
    assert ".heic" in image_suffixes()
    without = image_suffixes() - {".heic", ".heif"}
    monkeypatch.setattr(folder_listing, "image_suffixes", lambda: without)
    make(tmp_path, "ann/1.heic")
    with pytest.raises(InputError, match=r"left out, HEIC, .* pip install pi-heif"):
        open_images(tmp_path)


@pytest.mark.parametrize(
    "name", ["@eaDir", "Thumbnails", "$RECYCLE.BIN", "#recycle", "__MACOSX", ".cache"]
)
def test_folders_of_systems_hold_nobody(tmp_path, name):
    make(tmp_path, "ann/1.jpg", f"ann/{name}/1.jpg/SYNOPHOTO_THUMB_M.jpg")
    make(tmp_path, "bob/1.jpg", f"{name}/2.jpg")
    assert identities(tmp_path) == {"ann/1.jpg": "ann", "bob/1.jpg": "bob"}
    assert sum(map(len, ImageDataset(tmp_path).left_out.values())) == 2


def test_a_person_is_a_top_folder(tmp_path):
    make(tmp_path, "ann/1.jpg", "ann/2019/2.jpg", "ann/2020/3.jpg", "bob/1.jpg")
    assert set(identities(tmp_path).values()) == {"ann", "bob"}
    assert identities(tmp_path)["ann/2019/2.jpg"] == "ann"


@pytest.mark.parametrize(
    "names",
    [
        ["train/ann/1.jpg", "test/ann/2.jpg", "train/bob/1.jpg", "test/bob/2.jpg"],
        ["train/ann/1.jpg", "train/bob/1.jpg", "test/carl/1.jpg"],
        ["faces/ann/1.jpg", "faces/bob/1.jpg"],
        ["ann/2019/1.jpg", "bob/2019/1.jpg"],
        ["ann/1.jpg", "train/ann/1.jpg"],
        ["a/b/ann/1.jpg", "a/b/bob/1.jpg", "carl/1.jpg"],
        ["images/1.jpg", "images/2.jpg"],
        ["Train/1.jpg", "ann/1.jpg"],
    ],
)
def test_ambiguous_folders_are_refused(tmp_path, names):
    make(tmp_path, *names)
    with pytest.raises(
        InputError, match=r"--identity_from=top .* last .* path"
    ) as error:
        ImageDataset(tmp_path)
    assert "\n" not in str(error.value)
    path = {name: os.path.dirname(name) for name in names}
    assert identities(tmp_path, identity_from="path") == path
    top = {name: name.split("/")[0] for name in names}
    assert identities(tmp_path, identity_from="top") == top
    last = {name: name.split("/")[-2] for name in names}
    assert identities(tmp_path, identity_from="last") == last
    with pytest.raises(InputError, match="identity_from is 'middle'"):
        ImageDataset(tmp_path, identity_from="middle")


@pytest.mark.parametrize(
    "names",
    [["Ann/1.jpg", "ann/1.jpg"], ["jos\u00e9/1.jpg", "jose\u0301/1.jpg"]],
)
def test_names_that_differ_in_spelling_alone_are_refused(tmp_path, names):
    make(tmp_path, *names)
    with pytest.raises(InputError, match="differ in spelling alone; rename one"):
        ImageDataset(tmp_path)
    assert len(ImageDataset(tmp_path, identity_from="path").identities) == 2


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.parquet"])
def test_metadata_that_can_t_be_read_are_not_passed_over(tmp_path, name):
    make(tmp_path, "1.jpg", "2.jpg", name)
    refusal = {
        "metadata.csv": r"metadata\.csv: its first line is 'text'",
        "metadata.parquet": r"metadata\.parquet says who .* as metadata\.jsonl",
    }
    with pytest.raises(InputError, match=refusal[name]):
        ImageDataset(tmp_path)
    assert not ImageDataset(tmp_path, identity_from="top").labelled


def test_metadata_behind_a_dangling_link_are_missed(tmp_path):
    make(tmp_path, "1.jpg")
    (tmp_path / "metadata.jsonl").symlink_to("gone")
    with pytest.raises(InputError, match="missing"):
        ImageDataset(tmp_path)


def test_folders_that_are_nested_too_deeply_are_not_lost(tmp_path):
    make(tmp_path, "ann/" + "x/" * 110 + "1.jpg", "bob/1.jpg")
    with pytest.raises(InputError, match="nested too deeply"):
        check_source(ImageDataset(tmp_path))


def test_names_can_t_steer_a_terminal(tmp_path, capsys):
    make(tmp_path, "ann/1.jpg", "ann/\x1b[31mred\nline.txt")
    open_images(tmp_path)
    said = capsys.readouterr().err
    assert "\\x1b[31mred\\nline.txt" in said and "\x1b" not in said


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "dataset.json"])
def test_metadata_a_level_lower_are_no_s_images(tmp_path, name):
    make(tmp_path, "train/1.jpg", "test/1.jpg", f"train/{name}")
    with pytest.raises(InputError, match=f"train/{name} says who is on the images"):
        ImageDataset(tmp_path)
    assert len(ImageDataset(tmp_path, identity_from="top").identities) == 2


def test_images_that_foreign_metadata_do_not_name_are_told(tmp_path):
    make(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "metadata.jsonl").write_text('{"file_name":"1.jpg","identity":"ann"}\n')
    dataset = ImageDataset(tmp_path)
    assert dataset.left_out == {"not in metadata.jsonl": ["2.jpg"]}
    assert dataset.identities == ["ann"]


def test_an_image_that_links_lead_to_counts_once(tmp_path):
    make(tmp_path / "faces", "ann/1.jpg", "bob/1.jpg")
    make(tmp_path, "elsewhere/2.jpg")
    (tmp_path / "faces/latest").symlink_to("ann")
    (tmp_path / "faces/bob/2.jpg").symlink_to("../ann/1.jpg")
    (tmp_path / "faces/carl").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "faces/carla").symlink_to(tmp_path / "elsewhere")
    assert identities(tmp_path / "faces") == {
        "ann/1.jpg": "ann",
        "bob/1.jpg": "bob",
        "carl/2.jpg": "carl",
    }
    (repeated,) = ImageDataset(tmp_path / "faces").left_out.values()
    assert repeated == ["bob/2.jpg", "carla/2.jpg", "latest/1.jpg"]


def test_links_that_lead_nowhere_are_not_lost(tmp_path):
    make(tmp_path, "ann/1.jpg")
    (tmp_path / "bob").symlink_to(tmp_path / "gone")
    dataset = ImageDataset(tmp_path)
    with pytest.raises(InputError, match="1 of 2 can't be read: bob: a link that"):
        check_source(dataset)
    _, skipped = check_source(dataset, skip_unreadable=True)
    assert skipped == {"bob": "a link that leads nowhere"}


def test_folders_without_permission_are_not_lost(tmp_path):
    make(tmp_path, "ann/1.jpg", "bob/1.jpg")
    (tmp_path / "bob").chmod(0)
    # Root may read everything, so somebody else has to look.
    program = (
        "import os\n"
        "from bridges.datasets.image_dataset import ImageDataset\n"
        "from bridges.datasets.unreadable import check_source\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "check_source(ImageDataset('ann'))  # what it imports, that user may not\n"
        "if os.getuid() == 0: os.setuid(54321)\n"
        "check_source(ImageDataset('.'))"
    )
    tmp_path.chmod(0o755)
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    (tmp_path / "bob").chmod(0o755)
    assert "InputError" in result.stderr
    assert "bob: can't be listed (Permission denied)" in result.stderr


def test_names_that_are_not_utf_8(tmp_path, capsys):
    name = os.fsdecode(b"j\xf6rg")
    try:
        make(tmp_path, f"{name}/1.jpg", "ann/1.jpg")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    dataset = open_images(tmp_path)
    assert dataset.identities == ["ann", name]
    assert dataset.load().shape == (2, 16, 16, 3)
    assert len(dataset.fingerprint()) == 64


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "faces.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"faces\.zip: is a file, .* unpack"):
        ImageDataset(tmp_path / "faces.zip")


def test_nothing_but_what_is_left_out_is_told(tmp_path):
    make(tmp_path, "a.txt", ".b.jpg")
    with pytest.raises(
        InputError, match=r"no images in it .*1 left out, hidden; 1 left"
    ):
        ImageDataset(tmp_path)
