"""The verification set folder: round trip and refusals."""

import os

import numpy as np
import pytest
from PIL import Image

from bridges.datasets.verification_set import (
    check_images,
    load_verification_set,
    write_pairs,
)
from hyperface_jax import InputError

ROWS = [
    ("images/a.jpg", "images/b.jpg", True, 0),
    ("images/a.jpg", "images/c.jpg", False, 0),
    ("images/c.jpg", "images/d.jpg", 1, 1),
    ("images/b.jpg", "images/d.jpg", 0, 1),
]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "mixed"
    (folder / "images").mkdir(parents=True)
    for name in "abcd":
        image = Image.new("RGB", (8, 8), (ord(name), 0, 0))
        image.save(folder / "images" / f"{name}.jpg")
    return folder


def test_round_trip(folder):
    write_pairs(folder, ROWS)
    text = (folder / "pairs.csv").read_text().splitlines()
    assert text[:2] == ["first,second,same,fold", "images/a.jpg,images/b.jpg,1,0"]
    result = load_verification_set(folder)
    assert result.name == "mixed"
    names = [record["file_name"] for record in result.images.records]
    assert names == [f"images/{letter}.jpg" for letter in "abcd"]
    assert result.images.read(2) == (folder / "images/c.jpg").read_bytes()
    np.testing.assert_array_equal(result.pairs, [[0, 1], [0, 2], [2, 3], [1, 3]])
    assert result.same.tolist() == [True, False, True, False]
    assert result.fold.tolist() == [0, 0, 1, 1]
    assert result.group is None


def test_group_column_is_optional(folder):
    write_pairs(folder, [(*row, "old, grey") for row in ROWS])
    assert load_verification_set(folder).group.tolist() == ["old, grey"] * 4
    with pytest.raises(InputError, match=r"\[4, 5\]"):
        write_pairs(folder, [ROWS[0], (*ROWS[1], "old")])
    with pytest.raises(InputError, match="rows of no values"):
        write_pairs(folder, [])


def test_a_spreadsheet_may_begin_with_a_byte_order_mark(folder):
    path = write_pairs(folder, ROWS)
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert load_verification_set(folder).fold.tolist() == [0, 0, 1, 1]


def test_pairs_that_are_not_text_are_refused(folder):
    (folder / "pairs.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a CSV file"):
        load_verification_set(folder)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("first,second,same\na,b,1\n", "no column 'fold'"),
        ("first,second,same,fold\n", "no pairs"),
        ("", "no column 'first'"),
        ("first,second,same,fold\nimages/a.jpg,images/b.jpg,2,0\n", "line 2 has same"),
        ("first,second,same,fold\nimages/a.jpg,images/b.jpg,1,x\n", "line 2 has fold"),
        (
            "first,second,same,fold\nimages/a.jpg,images/b.jpg,1,99999999999999999999\n",
            "line 2 has fold",
        ),
        (
            "first,second,same,fold,group\nimages/a.jpg,images/b.jpg,1,0,\n",
            "line 2 has an empty group",
        ),
        ("first,second,same,fold\nimages/a.jpg,images/b.jpg,1\n", "line 2 has not"),
        (
            "first,second,same,fold\nimages/a.jpg,images/b.jpg,1,3\n"
            "images/a.jpg,images/c.jpg,0,3\n",
            "every pair has fold = 3",
        ),
        ("first,second,same,fold\nimages/a.jpg,./images/a.jpg,0,1\n", "line 2 says"),
        (
            "first,second,same,fold\nimages/a.jpg,images/b.jpg,1,0\n"
            "images/b.jpg,images/a.jpg,0,1\n",
            "lines 2 and 3 disagree",
        ),
        ("first,second,same,fold,same\na,b,1,0,0\n", "two columns"),
        ("first;second;same;fold\na;b;1;0\n", "tabs or semicolons"),
        ("first\tsecond\tsame\tfold\na\tb\t1\t0\n", "tabs or semicolons"),
        ("first,second,same,fold\n,b,1,0\n", "line 2 names no image"),
        ("first,second,same,fold\nimages/a.jpg,images/b.jpg,1,0\n", "same = 1"),
    ],
)
def test_bad_pairs_are_named(folder, text, reason):
    (folder / "pairs.csv").write_text(text)
    with pytest.raises(InputError, match=reason):
        load_verification_set(folder)


def test_folder_without_pairs_is_refused(folder):
    with pytest.raises(InputError, match="not a verification set"):
        load_verification_set(folder)


def test_unreadable_images_are_named_at_once_or_their_pairs_left_out(folder):
    write_pairs(folder, [*ROWS, ("images/a.jpg", "images/d.jpg", 0, 2)])
    (folder / "images/c.jpg").write_bytes(b"torn")
    (folder / "images/b.jpg").unlink()
    found = load_verification_set(folder)
    with pytest.raises(
        InputError, match=r"2 of 4 can't be read: images/b\.jpg: no such"
    ):
        check_images(found)
    with pytest.raises(InputError, match="every pair has same = 0"):
        check_images(found, skip_unreadable=True)
    write_pairs(folder, [*ROWS, ("images/a.jpg", "images/d.jpg", 1, 2)] * 2)
    (folder / "images/b.jpg").write_bytes((folder / "images/a.jpg").read_bytes())
    left = check_images(load_verification_set(folder), skip_unreadable=True)
    names = [record["file_name"] for record in left.images.records]
    assert names == ["images/a.jpg", "images/b.jpg", "images/d.jpg"]
    assert left.images.read(2) == (folder / "images/d.jpg").read_bytes()
    assert left.pairs.tolist() == [[0, 1], [1, 2], [0, 2]] * 2
    assert left.same.tolist() == [True, False, True] * 2
    assert left.fold.tolist() == [0, 1, 2] * 2
    assert list(left.skipped) == ["images/c.jpg"]


def test_names_of_images_need_not_be_utf_8(folder):
    name = os.fsdecode(b"images/j\xf6rg.jpg")
    os.rename(folder / "images/a.jpg", folder / name)
    path = write_pairs(folder, [[c if c != "images/a.jpg" else name for c in row]
                                for row in ROWS])  # fmt: skip
    assert b"images/j\xf6rg.jpg" in path.read_bytes()
    found = load_verification_set(folder)
    assert check_images(found).images.paths == found.images.paths
