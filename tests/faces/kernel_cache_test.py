"""The kernel cache: its candidates in order, and none that others can write to."""

import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import textwrap

import pytest

from bridges.faces import kernel_cache

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = "compiled-0123"
posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX file modes")


@pytest.fixture
def nowhere(tmp_path):
    """A path that not even root can create, because it is below a file."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "folder"


@pytest.fixture
def unwritable(monkeypatch, nowhere):
    """Makes every candidate unwritable; tests restore some of them."""
    monkeypatch.setattr(kernel_cache, "_PACKAGE", nowhere)
    monkeypatch.setenv("XDG_CACHE_HOME", str(nowhere))
    monkeypatch.setenv("HOME", str(nowhere))
    monkeypatch.setattr(tempfile, "tempdir", str(nowhere))
    return nowhere


def private_in(place: pathlib.Path) -> pathlib.Path:
    """The private folder that is used in a place outside the package."""
    return place / f"hyperface_jax-{kernel_cache._user()}"


def test_candidates_are_tried_in_order(unwritable, monkeypatch, tmp_path):
    def find():
        return kernel_cache.find_folder(NAME, tmp_path / "given" if given else None)

    given = False
    assert find() is None
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert find() == private_in(tmp_path / "temporary") / NAME
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if os.name == "posix":
        assert find() == private_in(tmp_path / "home" / ".cache") / NAME
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert find() == private_in(tmp_path / "cache") / NAME
    monkeypatch.setattr(kernel_cache, "_PACKAGE", tmp_path / "package")
    assert find() == tmp_path / "package" / "__pycache__" / NAME
    given = True
    assert find() == tmp_path / "given" / NAME
    assert find().is_dir()


def test_an_unwritable_given_folder_is_skipped(unwritable, monkeypatch, tmp_path):
    monkeypatch.setattr(kernel_cache, "_PACKAGE", tmp_path)
    found = kernel_cache.find_folder(NAME, unwritable)
    assert found == tmp_path / "__pycache__" / NAME


def test_a_missing_home_is_not_created(unwritable, monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "name"))
    assert kernel_cache.find_folder(NAME, None) is None
    assert not (tmp_path / "name").exists()


@posix
def test_a_new_folder_is_private(unwritable, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = os.umask(0)
    try:
        kernel_cache.find_folder(NAME, None)
    finally:
        os.umask(before)
    assert stat.S_IMODE(private_in(tmp_path).stat().st_mode) == 0o700


def make_readable(place):
    private_in(place).mkdir(mode=0o700)
    private_in(place).chmod(0o750)


def make_link(place):
    (place / "elsewhere").mkdir(mode=0o700)
    private_in(place).symlink_to(place / "elsewhere")


def make_file(place):
    private_in(place).write_text("")


def make_movable(place):
    private_in(place).mkdir(mode=0o700)
    place.chmod(0o777)


def make_foreign(place):
    if os.geteuid():
        pytest.skip("giving a folder to somebody else needs root")
    private_in(place).mkdir(mode=0o700)
    os.chown(private_in(place), 54321, 54321)


@posix
@pytest.mark.parametrize(
    "make", [make_readable, make_link, make_file, make_movable, make_foreign]
)
def test_a_folder_that_others_could_write_to_is_not_used(
    unwritable, monkeypatch, tmp_path, make
):
    place = tmp_path / "cache"
    place.mkdir()
    make(place)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    assert kernel_cache.find_folder(NAME, None) is None


@posix
def test_a_shared_folder_with_the_sticky_bit_is_used(unwritable, monkeypatch, tmp_path):
    place = tmp_path / "temporary"
    place.mkdir()
    place.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    assert kernel_cache.find_folder(NAME, None) == private_in(place) / NAME


@pytest.mark.parametrize("temporary", [True, False])
def test_an_unwritable_package_still_compiles(nowhere, tmp_path, temporary):
    program = textwrap.dedent(
        """
        import pathlib, sys, tempfile
        from bridges.faces import kernel_cache
        kernel_cache._PACKAGE = pathlib.Path(sys.argv[1])
        tempfile.tempdir = sys.argv[2]
        from bridges.faces import noise
        print(noise.step(0.0, 1.0, 0.5))
        print(noise.step.stats.cache_path)
        """
    )
    place = tmp_path / "temporary" if temporary else nowhere
    found = {**os.environ, "HOME": str(nowhere), "XDG_CACHE_HOME": str(nowhere)}
    found.pop("NUMBA_CACHE_DIR", None)
    arguments = [str(nowhere), str(place)]
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=found,
    )
    assert (result.returncode, result.stderr) == (0, "")
    value, path = result.stdout.splitlines()
    assert value == "0.5"
    if temporary:
        assert path.startswith(str(private_in(place)))
        assert list(pathlib.Path(path).glob("noise.step-*.nbi"))
    else:
        assert path == "None"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="needs root to change the user",
)
def test_a_user_without_home_and_name_compiles():
    """Installed by root, run by a user id that the system does not know."""
    program = textwrap.dedent(
        """
        import os, sys
        # Load what compiling needs as root: the other user may be unable to read the
        # interpreter's own folders.
        import importlib, tempfile
        from bridges.faces import compiled, kernel_cache, noise
        noise.step.py_func(0.0, 1.0, 0.5)
        import numba
        numba.njit(lambda x: x + 1.0)(1.0)
        os.setgroups([])
        os.setgid(54321)
        os.setuid(54321)
        if not os.access(compiled.__file__, os.R_OK):
            sys.exit(77)
        importlib.reload(compiled)
        importlib.reload(noise)
        print(compiled._CACHE)
        print(noise.step(0.0, 1.0, 0.5))
        """
    )
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o1777)
        result = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": "/nonexistent",
                "TMPDIR": folder,
                "PYTHONPATH": str(ROOT),
            },
        )
        if result.returncode == 77:
            pytest.skip("this checkout is not readable by other users")
        assert (result.returncode, result.stderr) == (0, "")
        place, value = result.stdout.splitlines()
        assert value == "0.5"
        private = pathlib.Path(place).parent
        if private.parent.samefile(folder):
            assert private.name == "hyperface_jax-54321"
            assert private.stat().st_uid == 54321
            assert list(private.rglob("noise.step-*.nbi"))
        else:
            assert private.name == "__pycache__", (
                "used if everybody can write to the package"
            )
