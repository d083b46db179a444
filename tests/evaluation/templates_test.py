"""Template averaging in IJB's manner against plain loops, and its lists."""

import numpy as np
import pytest

from bridges.evaluation.templates import pool_templates, read_template_list
from hyperface_jax import InputError


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_means_within_media_are_added(scored, flip):
    rng = np.random.default_rng(0)
    rows, mirrored = rng.normal(size=(2, 30, 4))
    template = rng.choice(["b", "a", "c"], 30)
    medium = rng.choice(["video", "photo", "other"], 30)
    scores = rng.random(30) if scored else None
    found, names = pool_templates(
        rows, template, medium, scores=scores, mirrored=mirrored if flip else None
    )
    assert names.tolist() == ["a", "b", "c"]
    faces = rows + mirrored if flip else rows
    faces = faces * scores[:, None] if scored else faces
    for name, row in zip(names, found, strict=True):
        total = np.zeros(4)
        for one in set(medium[template == name]):
            total += faces[(template == name) & (medium == one)].mean(0)
        np.testing.assert_allclose(row, total / np.linalg.norm(total), atol=1e-6)


def test_a_long_video_weighs_no_more_than_a_photograph():
    rows = np.array([[1.0, 0.0]] * 9 + [[0.0, 1.0]])
    found, _ = pool_templates(rows, ["t"] * 10, ["video"] * 9 + ["photo"])
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5]], atol=1e-7)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"template": ["t"]}, "template must have an entry for each of 2 rows"),
        ({"scores": np.array([1.0, np.nan])}, "scores must be finite"),
        ({"scores": np.array([1.0, -1.0])}, "at least 0"),
        ({"mirrored": np.ones((2, 3))}, r"mirrored \(2, 3\)"),
        ({"rows": np.array([[1.0, 0], [-1, 0]])}, "template t: its images add up to"),
    ],
)
def test_refusals(options, reason):
    given = {"rows": np.eye(2), "template": ["t"] * 2, "medium": ["m", "n"]}
    with pytest.raises(InputError, match=reason):
        pool_templates(**{**given, **options})


def test_lists_of_both_forms(tmp_path):
    ijb = tmp_path / "ijbb_face_tid_mid.txt"
    ijb.write_text("1.jpg 1 69544\n2.jpg 1 69544\n3.jpg 8 12\n")
    found = read_template_list(ijb)
    assert found.template == {"1.jpg": "1", "2.jpg": "1", "3.jpg": "8"}
    assert found.medium["3.jpg"] == "12" and found.score == {}
    table = tmp_path / "list.csv"
    table.write_text('medium,score,name,template\nv,0.5,"a, b.jpg",t\n')
    found = read_template_list(table)
    assert found.template == {"a, b.jpg": "t"} and found.score == {"a, b.jpg": 0.5}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no image in it"),
        ("1.jpg 1\n", "line 1 is not name,template,medium"),
        ("1.jpg 1 2\n1.jpg 2 3\n", "line 2 names 1.jpg again"),
        ("name,template\na,b\n", "no column 'medium'"),
        ("name,template,medium,score\na,b,c,high\n", "line 2 has score 'high'"),
    ],
)
def test_bad_lists_are_refused(tmp_path, text, reason):
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        read_template_list(path)
    with pytest.raises(InputError, match="no such file"):
        read_template_list(tmp_path / "none")
