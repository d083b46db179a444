"""Files that appear whole or not at all."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from hyperface_jax import InputError, files


def test_content_arrives(tmp_path):
    files.write_text(tmp_path / "new" / "a.txt", "größer")
    files.write_json(tmp_path / "b.json", {"a": [1, None]})
    assert (tmp_path / "new" / "a.txt").read_bytes() == "größer".encode()
    assert json.loads((tmp_path / "b.json").read_text()) == {"a": [1, None]}


def test_a_folder_in_the_way_is_named(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        files.write_text(tmp_path, "")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: is a file"):
        files.write_text(tmp_path / "file" / "a.txt", "")


def test_the_mode_is_that_of_a_plain_open(tmp_path):
    (tmp_path / "plain").write_text("")
    files.write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("before", [None, "old"])
def test_a_failure_leaves_what_was_there(tmp_path, before):
    path = tmp_path / "file.txt"
    if before is not None:
        path.write_text(before)
    with pytest.raises(RuntimeError, match="half-way"):
        with files.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("half-way")
    assert [entry.name for entry in tmp_path.iterdir()] == (
        [] if before is None else ["file.txt"]
    )
    assert before is None or path.read_text() == before


def test_only_its_own_half_written_files_are_removed(tmp_path):
    with (
        files.atomic_path(tmp_path / "a.npz") as own,
        files.atomic_path(tmp_path / "a-2.npz") as other,
    ):
        files.remove_partial(tmp_path / "a.npz")
        assert not own.exists() and other.exists()
        own.touch()


def test_every_half_written_file_of_a_folder_is_removed(tmp_path):
    kept = ["a.npz", ".hidden", ".a-b.partial.npz", "b-12345678.partial"]
    for name in kept:
        (tmp_path / name).touch()
    with (
        files.atomic_path(tmp_path / "a.npz") as first,
        files.atomic_path(tmp_path / "no_suffix") as second,
    ):
        files.remove_partials(tmp_path)
        assert not first.exists() and not second.exists()
        first.touch()
        second.touch()
    assert {p.name for p in tmp_path.iterdir()} == {*kept, "no_suffix"}
    files.remove_partials(tmp_path / "no such folder")


def test_a_folder_is_one_writer_s_at_a_time(tmp_path):
    folder = tmp_path / "output"
    with files.exclusive(folder):
        with pytest.raises(InputError, match="output: another process is writing it"):
            with files.exclusive(folder):
                raise AssertionError("two writers")
        (folder / "result").touch()
    with files.exclusive(folder):
        pass
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_the_lock_of_a_killed_writer_is_no_hindrance(tmp_path):
    program = f"""
        import os, signal
        from hyperface_jax import files
        with files.exclusive({str(tmp_path)!r}):
            with files.atomic_path({str(tmp_path / "result")!r}):
                os.kill(os.getpid(), signal.SIGKILL)
    """
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(program)])
    assert process.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    with files.exclusive(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [files.LOCK]
    assert list(tmp_path.iterdir()) == []


def test_what_json_has_no_word_for_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_kill_leaves_the_old_content(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    program = f"""
        import os, signal
        from hyperface_jax import files
        with files.atomic_path({str(path)!r}) as temporary:
            temporary.write_text("new")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(program)])
    assert process.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_a_full_disk_leaves_the_old_content(tmp_path):
    # A limit on the size of files makes the kernel refuse to write, as a full disk.
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    program = f"""
        import resource, signal
        from hyperface_jax import files
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        files.write_bytes({str(path)!r}, bytes(5000))
    """
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    assert process.returncode == 1 and "OSError" in process.stderr
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file.bin"]


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 1000)
    assert files.sha256_of(tmp_path / "a") == hashlib.sha256(b"abc" * 1000).hexdigest()
