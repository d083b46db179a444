"""Verification sets of LFW and RFW: lists of pairs beside their images."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import fetch_lfw_pairs

from bridges.cli import verify
from bridges.datasets.images import decode_bytes
from bridges.datasets.verification_set import check_images, load_verification_set
from bridges.evaluation.verification import find_benchmarks
from hyperface_jax import InputError
from tests.datasets.catalogues.trees import lfw_names, lfw_pairs, write_images
from tests.generation.tiny_models import save_tiny_recogniser

RACES = ("African", "Asian")


@pytest.fixture
def lfw(tmp_path):
    folder = tmp_path / "lfw_home"
    write_images(folder, lfw_names(6))
    (folder / "pairs.txt").write_text(lfw_pairs(6, folds=10, each=3))
    return folder


@pytest.fixture
def rfw(tmp_path):
    """Two ethnicities of three people, 20 pairs of each kind, without a header."""
    folder = tmp_path / "rfw"
    for n, race in enumerate(RACES):
        people = [f"m.0{n}{i}" for i in range(3)]
        write_images(
            folder / "data" / race,
            [f"{one}/{one}_{k:04d}.jpg" for one in people for k in (1, 2)],
        )
        lines = [f"{people[i % 3]}\t1\t2" for i in range(20)]
        lines += [f"{people[i % 3]}\t1\t{people[(i + 1) % 3]}\t2" for i in range(20)]
        (folder / "txts" / race).mkdir(parents=True)
        (folder / "txts" / race / f"{race}_pairs.txt").write_text("\n".join(lines))
        (folder / "txts" / race / f"{race}_people.txt").write_text("m.0\t3\n")
    return folder


def test_pairs_are_those_that_scikit_learn_reads(tmp_path):
    folder = tmp_path / "lfw_home"
    write_images(folder, lfw_names(6), size=250)
    for name in ("pairs", "pairsDevTrain", "pairsDevTest"):
        (folder / f"{name}.txt").write_text(lfw_pairs(6, folds=10, each=2))
    theirs = fetch_lfw_pairs(
        subset="10_folds",
        data_home=tmp_path,
        funneled=False,
        resize=None,
        color=True,
        slice_=(slice(0, 8), slice(0, 8)),
        download_if_missing=False,
    )
    ours = load_verification_set(folder)
    assert ours.name == "lfw_home" and len(ours.images) == 18
    np.testing.assert_array_equal(ours.same, theirs.target)
    images = np.stack([decode_bytes(ours.images.read(i), 8) for i in range(18)])
    scale = 255 if theirs.pairs.max() <= 1 else 1
    np.testing.assert_allclose(images[ours.pairs], theirs.pairs * scale, atol=1)
    np.testing.assert_array_equal(ours.fold, np.repeat(np.arange(10), 4))


def test_a_list_is_a_set_by_itself(lfw):
    os.rename(lfw / "pairs.txt", lfw / "pairsDevTest.txt")
    people = [f"Ann_{letter}" for letter in "ABCDEF"]
    lines = ["20"]
    lines += [f"{people[i % 6]}\t1\t{2 + i % 2}" for i in range(20)]
    lines += [f"{people[i % 6]}\t1\t{people[(i + 1) % 6]}\t3" for i in range(20)]
    (lfw / "pairsDevTest.txt").write_text("\r\n".join(lines))
    (path,) = find_benchmarks([lfw / "pairsDevTest.txt"])
    found = load_verification_set(path)
    assert found.name == "pairsDevTest"
    assert found.same.tolist() == [True] * 20 + [False] * 20
    assert found.fold.tolist() == [i // 2 for i in range(20)] * 2
    assert check_images(found).skipped == {}
    (lfw / "lfw/Ann_B/Ann_B_0001.jpg").unlink()
    with pytest.raises(InputError, match=f"{lfw}: 1 of 15 can't be read"):
        check_images(load_verification_set(path))


def test_rfw_is_one_set_with_groups(rfw):
    found = load_verification_set(rfw)
    assert found.name == "rfw" and len(found.images) == 12
    assert found.group.tolist() == ["african"] * 40 + ["asian"] * 40
    for race in ("african", "asian"):
        rows = found.group == race
        # Two pairs of each kind in every fold of each group.
        kinds = np.stack([found.fold[rows], found.same[rows]])
        values, counts = np.unique(kinds, axis=1, return_counts=True)
        assert values.shape == (2, 20) and (counts == 2).all()
        names = [found.images.records[i]["file_name"] for i in found.pairs[rows].flat]
        assert all(name.lower().startswith(f"data/{race}/") for name in names)


def test_one_ethnicity_alone_is_a_group_too(rfw):
    shutil.rmtree(rfw / "txts" / "Asian")
    assert set(load_verification_set(rfw).group) == {"african"}


@pytest.mark.parametrize("given", ["itself", "above"])
def test_the_command_measures_them_by_group(call, lfw, rfw, tmp_path, given):
    save_tiny_recogniser(tmp_path / "tiny")
    (tmp_path / "notes.txt").write_text("no list of pairs")
    benchmarks = tmp_path if given == "above" else f"{lfw},{rfw}"
    output = tmp_path / "metrics.json"
    code, _, errors = call(
        verify, checkpoint=tmp_path / "tiny", benchmarks=benchmarks, output=output
    )
    assert code == 0, errors
    metrics = json.loads(output.read_text())
    counts = {name: s["num_pairs"] for name, s in metrics["benchmarks"].items()}
    assert counts == {"lfw_home": 60, "rfw": 80}
    groups = {name: g["num_pairs"] for name, g in metrics["groups"].items()}
    assert groups == {"african": 40, "asian": 40}
    again = call(
        verify, checkpoint=tmp_path / "tiny", benchmarks=benchmarks, output=output
    )
    assert again[0] == 0, "what is there already is recognised"
    path = rfw / "txts" / "Asian" / "Asian_pairs.txt"
    path.write_text(path.read_text() + "\n" + "m.010\t1\t2\n" * 20)
    code, _, errors = call(
        verify, checkpoint=tmp_path / "tiny", benchmarks=benchmarks, output=output
    )
    assert code == 2 and "benchmarks" in errors, "other pairs are another set"


def test_a_missing_image_is_named_where_it_should_be(lfw):
    (lfw / "lfw/Ann_B/Ann_B_0002.jpg").unlink()
    found = load_verification_set(lfw)
    with pytest.raises(InputError, match=r"1 of 18 .* Ann_B/Ann_B_0002\.jpg: no such"):
        check_images(found)
    left = check_images(found, skip_unreadable=True)
    assert len(left.images) == 17 and len(left.same) < 60


def test_aligned_copies_may_have_another_suffix(lfw):
    for path in lfw.rglob("*.jpg"):
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    names = [r["file_name"] for r in load_verification_set(lfw).images.records]
    assert names[0] == "lfw/Ann_A/Ann_A_0001.png"


def test_pairs_csv_comes_first(lfw):
    text = "first,second,same,fold\n"
    text += "lfw/Ann_A/Ann_A_0001.jpg,lfw/Ann_A/Ann_A_0002.jpg,1,0\n"
    text += "lfw/Ann_A/Ann_A_0001.jpg,lfw/Ann_B/Ann_B_0002.jpg,0,1\n"
    (lfw / "pairs.csv").write_text(text)
    assert len(load_verification_set(lfw).same) == 2


GENUINE, IMPOSTOR = "Ann_A\t1\t2\n", "Ann_A\t1\tAnn_B\t2\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no pairs in it"),
        ("10\t300\n", "no pairs in it"),
        ("<html>\n", "line 1 is no pair; expected name, image, image"),
        (GENUINE + "Ann_A\tone\t2\n", "line 2 is no pair"),
        (GENUINE + "Ann_A\t1\t../B\t2\n", "line 2 is no pair"),
        (GENUINE + "Ann_A\t1\tAnn_A\t2\n", "line 2 has images of two people, but"),
        ("2\t1\n" + GENUINE + IMPOSTOR, "says 2 pairs of one person .* are 1 and 1"),
        ("2\t1\n" + 2 * GENUINE + 2 * IMPOSTOR, "lines 2 to 3 should be a fold of 1"),
        (3 * GENUINE, "every pair has same = 1"),
        (GENUINE + IMPOSTOR, "every pair has fold = 0"),
        ("Bob\t1\t2\nBob\t1\tCarl\t2\n", "none is below .*, Bob/Bob_0001.jpg first"),
    ],
)
def test_bad_lists_are_named(lfw, text, reason):
    (lfw / "pairs.txt").write_text(text)
    with pytest.raises(InputError, match=reason):
        load_verification_set(lfw)


def test_two_copies_are_refused(lfw):
    write_images(lfw, lfw_names(1, "lfw_funneled/"))
    with pytest.raises(InputError, match=r"lfw_funneled/Ann_A/.* are both the image"):
        load_verification_set(lfw)


def test_a_file_that_is_no_list_is_refused(tmp_path):
    (tmp_path / "lfw.tgz").write_bytes(b"\x1f\x8b")
    with pytest.raises(InputError, match="a file; unpack it"):
        find_benchmarks([tmp_path / "lfw.tgz"])
