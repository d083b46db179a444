"""SHA256SUMS: written as sha256sum does, compared where a set is used."""

import hashlib
import shutil
import subprocess

import pytest

from bridges.datasets.checksums import read_checksums, write_checksums
from bridges.datasets.make_bin import convert_to_bin
from bridges.evaluation.verification import verify_checkpoint
from bridges.faces.verification_sets import render_verification_set
from hyperface_jax import InputError


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered") / "mixed"
    settings = {"num_pairs": 40, "image_size": 16, "num_processes": 1}
    return render_verification_set("mixed", folder, **settings)


@pytest.fixture
def folder(rendered, tmp_path):
    return shutil.copytree(rendered, tmp_path / "mixed")


def verify(folder, **settings):
    output = folder.parent / "metrics.json"
    return verify_checkpoint("recogniser_f", folder, output, device="cpu", **settings)


def test_a_rendered_set_is_sealed_with_every_image_and_the_pairs(rendered):
    expected = {
        path.relative_to(rendered).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in rendered.rglob("*")
        if path.suffix in (".jpg", ".csv", ".jsonl")
    }
    assert len(expected) == 42
    lines = (rendered / "SHA256SUMS").read_text().splitlines()
    assert {tuple(line.split("  ")[::-1]) for line in lines} == {*expected.items()}
    assert read_checksums(rendered) == expected


def test_an_older_set_is_sealed_and_a_sealed_one_left_as_it_is(folder):
    path = folder / "SHA256SUMS"
    sealed = path.read_bytes()
    for content in (None, b"another\n"):
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        settings = {"num_pairs": 40, "image_size": 16, "num_processes": 1}
        render_verification_set("mixed", folder, **settings)
        assert path.read_bytes() == (content or sealed)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("images/000003/000003_001.jpg", lambda path, other: shutil.copy(other, path)),
        ("pairs.csv", lambda path, _: path.write_text(_swapped(path.read_text()))),
    ],
)
def test_what_was_changed_is_named_where_the_set_is_used(folder, name, change):
    verify(folder)
    change(folder / name, folder / "images/000004/000004_001.jpg")
    (folder.parent / "metrics.json").unlink()
    for use in (verify, lambda place: convert_to_bin(place, place.parent / "a.bin")):
        with pytest.raises(InputError, match=f"mixed: {name} was changed since"):
            use(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["mixed"]
    (folder / "SHA256SUMS").unlink()
    verify(folder)


def _swapped(text: str) -> str:
    """The pairs with the images of one of them in the other order."""
    header, line, *rest = text.splitlines()
    first, second, *others = line.split(",")
    return "\n".join([header, ",".join([second, first, *others]), *rest]) + "\n"


def test_an_image_that_cannot_be_read_is_told_as_such(folder):
    (folder / "images/000003/000003_001.jpg").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"000003_001\.jpg"):
        verify(folder)
    assert verify(folder, skip_unreadable=True)["skipped"]


def test_lines_are_those_of_sha256sum(tmp_path):
    names = ["a.txt", "with space.txt", "back\\slash.txt", "line\nbreak.txt"]
    for name in names:
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path, names)
    assert read_checksums(tmp_path) == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in names
    }
    if shutil.which("sha256sum"):
        check = ["sha256sum", "--quiet", "-c", "SHA256SUMS"]
        assert subprocess.run(check, cwd=tmp_path).returncode == 0
    (tmp_path / "SHA256SUMS").write_text("0123  a.txt\n")
    with pytest.raises(InputError, match="SHA256SUMS: line 1 is no checksum"):
        read_checksums(tmp_path)
