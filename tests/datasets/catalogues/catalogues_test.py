"""Published catalogues: who is who and which groups, from fabricated trees."""

import json

import pytest

from bridges.cli import embed
from bridges.datasets.catalogues.attributes import age_group
from bridges.datasets.catalogues.catalogue import CATALOGUES
from bridges.datasets.groups import groups_of
from bridges.datasets.image_dataset import ImageDataset
from bridges.datasets.image_source import describe
from hyperface_jax import InputError, load_embeddings
from tests.datasets.catalogues.trees import lfw_names, write_images
from tests.generation.tiny_models import save_tiny_recogniser

UTKFACE = {
    "26_0_1_20170116184028385.jpg.chip.jpg": ("20-29", "male", "african"),
    "1_1_0_20161219140530307.jpg": ("0-9", "female", "caucasian"),
    "part2/116_1_3_20170112213500903.jpg.chip.jpg": ("70+", "female", "indian"),
    "69_0_2_20170116184028385.jpg": ("60-69", "male", "asian"),
    "70_0_4_20170116184028386.jpg": ("70+", "male", "other"),
    # As they are in the archive.
    "24_0_1_20170116220224657 .jpg.chip.jpg": ("20-29", "male", "african"),
    "55_0_0_20170116232725357jpg.chip.jpg": ("50-59", "male", "caucasian"),
    "44_1_4_20170116235150272.pg.chip.jpg": ("40-49", "female", "other"),
}
UTKFACE_LACKING = [
    "39_1_20170116174525125.jpg.chip.jpg",
    "53__0_20170116184028385.jpg",
    "61_1_20170109142408075.jpg.chip.jpg",
    "61_1_20170109150557335.jpg.chip.jpg",
    "61_3_20170109150557335.jpg",
]
# By catalogue: an image of each person or group, and who is on it.
TREES = {
    "digiface": {"subjects_0-1999_72_imgs/0/0.png": 0, "0_b/17/71.png": 17,
                 "110000/4.png": 110000},
    "casia": {"CASIA-WebFace/0000045/001.jpg": "0000045",
              "CASIA-WebFace/0000045/015.jpg": "0000045",
              "CASIA-WebFace/4253345/1234.jpg": "4253345"},
    "bupt": {"race/African/m.0100cm/000001_0.jpg": "m.0100cm",
             "race/Indian/m.0_xy/1.jpg": "m.0_xy", "race/Asian/g.11b/1.jpg": "g.11b",
             "race/Caucasian/m.02/1.jpg": "m.02"},
    "lfw": {"lfw/Ann_Lee/Ann_Lee_0001.jpg": "Ann_Lee",
            "lfw/Ann_Lee/Ann_Lee_0002.jpg": "Ann_Lee",
            "lfw/José_L._O'B/José_L._O'B_0010.jpg": "José_L._O'B"},
    "rfw": {"data/African/m.0c7mh2/m.0c7mh2_0001.jpg": "m.0c7mh2",
            "data/Asian/m.01/m.01_0003.jpg": "m.01"},
    "agedb": {"AgeDB/0_MariaCallas_35_f.jpg": "MariaCallas",
              "AgeDB/1_MariaCallas_6_f.jpg": "MariaCallas",
              "AgeDB/16516_J_R_R_Tolkien_101_m.jpg": "J_R_R_Tolkien"},
}  # fmt: skip


@pytest.mark.parametrize("catalogue", TREES)
def test_people_are_read_from_the_layout(tmp_path, catalogue):
    write_images(tmp_path, TREES[catalogue])
    (tmp_path / "readme.txt").write_text("licence")
    found = ImageDataset(tmp_path, identity_from=catalogue)
    who = [found.identities[label] for label in found.labels]
    names = [record["file_name"] for record in found.records]
    assert dict(zip(names, who, strict=True)) == TREES[catalogue]
    assert found.left_out == {"not an image by its suffix": ["readme.txt"]}


@pytest.mark.parametrize(
    ("catalogue", "groups"),
    [
        ("bupt", {"ethnicity": ["african", "asian", "caucasian", "indian"]}),
        ("rfw", {"ethnicity": ["african", "asian"]}),
        (
            "agedb",
            {
                "age_group": ["30-39", "70+", "0-9"],
                "gender": ["female", "male", "female"],
            },
        ),
        ("casia", {}),
    ],
)
def test_groups_are_read_from_the_layout(tmp_path, catalogue, groups):
    write_images(tmp_path, TREES[catalogue])
    found = ImageDataset(tmp_path, identity_from=catalogue)
    read = groups_of(found.records)
    assert {key: words.tolist() for key, words in read.items()} == groups


def test_utkface_has_groups_and_no_people(tmp_path):
    other = ["900_0_1_20170116184028385.jpg", "cover.jpg"]
    write_images(tmp_path, [*UTKFACE, *UTKFACE_LACKING, *other])
    found = ImageDataset(tmp_path, identity_from="utkface")
    assert not found.labelled
    groups = groups_of(found.records)
    read = {
        record["file_name"]: tuple(
            str(groups[key][i]) for key in ("age_group", "gender", "ethnicity")
        )
        for i, record in enumerate(found.records)
    }
    assert read == UTKFACE
    ages = {record["file_name"]: record["age"] for record in found.records}
    assert all(name.split("/")[-1].split("_")[0] == str(a) for name, a in ages.items())
    left_out = {reason[:9]: names for reason, names in found.left_out.items()}
    assert left_out == {"its name ": UTKFACE_LACKING, "not named": other}
    assert any("left out 5, its name lacks" in line for line in describe(found))


def test_groups_reach_the_embedding_file(call, tmp_path):
    write_images(tmp_path / "faces", [*UTKFACE, *UTKFACE_LACKING[:3]])
    save_tiny_recogniser(tmp_path / "tiny")
    settings = {"images": tmp_path / "faces", "model": tmp_path / "tiny"}
    code, _, errors = call(
        embed, **settings, output=tmp_path / "a.npz", identity_from="utkface"
    )
    assert code == 0 and "left out 3, its name lacks" in errors
    made = load_embeddings(tmp_path / "a.npz")
    assert made.labels is None and len(made.embeddings) == len(UTKFACE)
    ethnicities = dict(zip(made.names, made.groups["ethnicity"], strict=True))
    assert ethnicities == {name: words[2] for name, words in UTKFACE.items()}


@pytest.mark.parametrize("catalogue", ["agedb", "utkface"])
def test_a_name_that_says_all_is_pointed_out(tmp_path, catalogue):
    names = UTKFACE if catalogue == "utkface" else TREES["agedb"]
    write_images(tmp_path, [name.split("/")[-1] for name in names])
    told = describe(ImageDataset(tmp_path))[-1]
    assert f"--identity_from={catalogue} reads" in told
    read = ImageDataset(tmp_path, identity_from=catalogue)
    assert "published catalogue" not in " ".join(describe(read))


def test_plain_names_are_taken_for_no_catalogue(tmp_path):
    write_images(tmp_path, ["a.jpg", "1_b.jpg", "26_0_1_20170116184028385.jpg"])
    assert ImageDataset(tmp_path).advice == ""


@pytest.mark.parametrize("catalogue", CATALOGUES)
@pytest.mark.parametrize("names", [[], ["a.jpg"], ["train/ann/x.jpg", "b.jpg"]])
def test_no_tree_of_the_catalogue_is_one_line(call, tmp_path, catalogue, names):
    (tmp_path / "faces").mkdir()
    write_images(tmp_path / "faces", names)
    given = {"images": tmp_path / "faces", "output": tmp_path / "a.npz"}
    code, output, errors = call(embed, **given, identity_from=catalogue)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    if catalogue == "stylegan":
        assert "no folder of StyleGAN2-ADA" in errors
    elif names:
        assert f"no folder of {TITLES[catalogue]}, which has" in errors
        assert f"{len(names)} of {len(names)} images are not named so" in errors
    else:
        assert "no images in it" in errors
    assert not (tmp_path / "a.npz").exists()


TITLES = {
    **{"agedb": "AgeDB", "bupt": "BUPT", "casia": "CASIA-WebFace", "lfw": "LFW"},
    **{"digiface": "DigiFace-1M", "rfw": "RFW", "utkface": "UTKFace"},
}


@pytest.mark.parametrize(
    ("catalogue", "names", "both"),
    [
        ("lfw", [*lfw_names(2), *lfw_names(1, "lfw_funneled/")], "lfw_funneled/Ann_A"),
        ("bupt", ["African/m.01/1.jpg", "Asian/m.01/1.jpg"], "Asian/m.01"),
        ("digiface", ["a/7/0.png", "b/7/1.png"], "b/7"),
    ],
)
def test_a_person_in_two_folders_is_refused(tmp_path, catalogue, names, both):
    write_images(tmp_path, names)
    with pytest.raises(InputError, match=f"and {both} are both of"):
        ImageDataset(tmp_path, identity_from=catalogue)


def test_a_few_other_images_are_left_out(tmp_path):
    write_images(tmp_path, [*TREES["lfw"], "cover.jpg", "lfw/Ann_Lee/Bob_0001.jpg"])
    found = ImageDataset(tmp_path, identity_from="lfw")
    (left_out,) = found.left_out.values()
    assert left_out == ["cover.jpg", "lfw/Ann_Lee/Bob_0001.jpg"]
    assert len(found) == 3


def test_rfw_needs_the_folder_of_an_ethnicity(tmp_path):
    beside = "data/m.03/m.03_0001.jpg"
    write_images(tmp_path, [*TREES["rfw"], beside])
    found = ImageDataset(tmp_path, identity_from="rfw")
    assert found.left_out == {"not below the folder of an ethnicity": [beside]}


def test_cbface_without_ethnicities_has_no_groups(tmp_path):
    write_images(tmp_path, ["CBFace/m.01/1.jpg", "CBFace/m.02/1.jpg"])
    found = ImageDataset(tmp_path, identity_from="bupt")
    assert list(found.identities) == ["m.01", "m.02"]
    assert groups_of(found.records) == {}


def test_every_age_has_its_decade():
    for age in range(123):
        low, _, high = age_group(age).partition("-")
        assert age >= 70 if low == "70+" else int(low) <= age <= int(high) < 70
        assert low == "70+" or int(high) - int(low) == 9


def write_stylegan(folder, labels):
    names = ["00000/img0.png", "00000/img1.png", "00001/img2.png"]
    write_images(folder, names)
    pairs = labels and [list(pair) for pair in zip(names, labels, strict=True)]
    (folder / "dataset.json").write_text(json.dumps({"labels": pairs}))
    return names


@pytest.mark.parametrize(
    ("labels", "who"),
    [([6, 9, 6], [6, 9, 6]), ([[0, 1], [1, 0], [0, 1.0]], [1, 0, 1])],
    ids=["numbers", "vectors"],
)
def test_stylegan_classes_are_people(tmp_path, labels, who):
    names = write_stylegan(tmp_path, labels)
    write_images(tmp_path, ["other.png"])
    found = ImageDataset(tmp_path, identity_from="stylegan")
    assert [found.identities[label] for label in found.labels] == who
    assert [record["file_name"] for record in found.records] == names
    assert found.left_out == {"not in dataset.json": ["other.png"]}


def test_stylegan_conditions_and_folders_without_labels_name_nobody(tmp_path):
    labels = [[0.5, 10**400], [1, 0], [-1, 3e-2]]
    write_stylegan(tmp_path, labels)
    found = ImageDataset(tmp_path, identity_from="stylegan")
    assert not found.labelled
    assert [record["label"] for record in found.records] == labels
    write_stylegan(tmp_path, None)
    found = ImageDataset(tmp_path, identity_from="stylegan")
    assert not found.labelled and len(found) == 3


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([], "or empty"),
        ([["a.png"]], "entry 1 of 'labels' is no name and label"),
        ([["a.png", 1], ["..\\b.png", 1]], "names ../b.png, which is not"),
        ([["a.png", 1], ["../b.png", 1]], "entry 2 of 'labels' names ../b.png, which"),
        ([["/etc/b.png", 1]], "names /etc/b.png, which is not below"),
        ([["a.png", -1]], "the label of a.png is -1"),
        ([["a.png", True]], "the label of a.png is True"),
        ([["a.png", [1, None]]], r"the label of a.png is \[1, None\]"),
        ([["a.png", 2**70]], "the label of a.png is 1180"),
        ([["a.png", 1], ["b.png", [1]]], "b.png has another form"),
        ([["a.png", 1], ["./a.png", 1]], "names a.png twice"),
        ([[3, 1]], "entry 1 of 'labels' names no image"),
        ("a.png", "no list"),
    ],
)
def test_bad_labels_of_stylegan_are_named(tmp_path, labels, reason):
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    with pytest.raises(InputError, match=reason):
        ImageDataset(tmp_path, identity_from="stylegan")


def test_a_dataset_of_ours_is_none_of_stylegan(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({"kind": "rendered"}))
    with pytest.raises(InputError, match="has no 'labels'"):
        ImageDataset(tmp_path, identity_from="stylegan")
