"""Files that appear whole or not at all."""

import errno
import hashlib
import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading

import pytest

from hyperface_jax import InputError, files, locks


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
    with locks.held(folder, is_folder=True):
        with pytest.raises(InputError, match="output: another process is writing it"):
            with locks.held(folder, is_folder=True):
                raise AssertionError("two writers")
        (folder / "result").touch()
    with locks.held(folder, is_folder=True):
        pass
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_the_lock_of_a_killed_writer_is_no_hindrance(tmp_path):
    program = f"""
        import os, signal
        from hyperface_jax import files, locks
        with locks.held({str(tmp_path)!r}, is_folder=True):
            with files.atomic_path({str(tmp_path / "result")!r}):
                os.kill(os.getpid(), signal.SIGKILL)
    """
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(program)])
    assert process.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    with locks.held(tmp_path, is_folder=True):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
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


def test_links_are_followed(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "far" / "file.txt")
    for content in ("first", "second"):
        files.write_text(tmp_path / "link.txt", content)
        assert (tmp_path / "link.txt").is_symlink()
        assert (tmp_path / "far" / "file.txt").read_text() == content
    assert os.listdir(tmp_path / "far") == ["file.txt"]
    (tmp_path / "round").symlink_to(tmp_path / "far")
    with pytest.raises(InputError, match="far: is a folder"):
        files.check_output(tmp_path / "round")


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(
        target=lambda: read.append((tmp_path / "pipe").read_bytes())
    )
    reader.start()
    files.write_bytes(tmp_path / "pipe", bytes(100_000))
    reader.join()
    assert read == [bytes(100_000)]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_device_stays_one(tmp_path):
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        device.write_bytes(b"may be written")
    except OSError:
        device.symlink_to(os.devnull)
    files.write_text(device, "text")
    assert stat.S_ISCHR(device.stat().st_mode) and device.read_bytes() == b""


def test_what_a_shell_opened_is_written_to(tmp_path):
    """A file that replaced the one behind standard output would not be its reader's."""
    program = "from hyperface_jax import files; files.write_text('/dev/stdout', 'text')"
    for content in ("text", "texttext"):
        with open(tmp_path / "out.txt", "a") as out:
            subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
            assert os.fstat(out.fileno()).st_ino == (tmp_path / "out.txt").stat().st_ino
        assert (tmp_path / "out.txt").read_text() == content
    printed = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert printed == "text"


def test_the_name_of_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="the name of a folder"):
        files.check_output(f"{tmp_path}/new/")


def test_links_that_lead_nowhere_or_round_are_refused(tmp_path):
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="nowhere: a link that leads nowhere"):
        files.check_output(tmp_path / "nowhere" / "a.txt")
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(InputError, match="back to itself"):
        files.check_output(tmp_path / "round")


def test_long_names_are_no_hindrance(tmp_path):
    name = "a" * 240 + ".npz"
    with locks.held(tmp_path / name):
        files.check_output(tmp_path / name)
        files.write_text(tmp_path / name, "text")
    assert os.listdir(tmp_path) == [name]


def test_an_output_is_one_writer_s_at_a_time(tmp_path):
    with locks.held(tmp_path / "a.txt"):
        with pytest.raises(InputError, match=r"a\.txt: another process is writing it"):
            with locks.held(tmp_path / "a.txt"):
                raise AssertionError("two writers")
    assert os.listdir(tmp_path) == []


def test_what_can_t_be_removed_is_warned_of(tmp_path, monkeypatch):
    (tmp_path / "a.txt").touch()
    monkeypatch.setattr(pathlib.Path, "unlink", refuse(errno.EPERM))
    with pytest.warns(UserWarning, match=r"a\.txt: can't be removed"):
        files.discard(tmp_path / "a.txt")
    # Nor is it a reason not to write there.
    with pytest.warns(UserWarning, match="can't be removed"):
        files.check_output(tmp_path / "b.txt")
    with locks.held(tmp_path / "b.txt"):
        files.write_text(tmp_path / "b.txt", "text")
    assert (tmp_path / "b.txt").read_text() == "text"


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # whole paths may be too long for a socket
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(InputError, match="is a socket"):
            files.check_output(tmp_path / "socket")


def refuse(number: int):
    """A system call that this file system does not have."""

    def call(*_, **__):
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, number):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", refuse(number))
    with pytest.warns(UserWarning, match=f"{tmp_path}: its file system has no locks"):
        with locks.held(tmp_path, is_folder=True):
            (tmp_path / "result").touch()
    assert (tmp_path / "result").exists()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_confirms_nothing_is_warned_of(
    tmp_path, monkeypatch, number
):
    monkeypatch.setattr(os, "fsync", refuse(number))
    with pytest.warns(UserWarning, match="does not confirm what is on the disk"):
        files.write_text(tmp_path / "a.txt", "text")
    assert (tmp_path / "a.txt").read_text() == "text"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_mode_that_may_not_be_changed_is_no_reason(tmp_path, monkeypatch):
    for name in ("chmod", "fchmod"):
        monkeypatch.setattr(os, name, refuse(errno.EPERM))
    files.write_text(tmp_path / "a.txt", "text")
    assert (tmp_path / "a.txt").read_text() == "text"


@pytest.mark.parametrize(
    ("call", "number"), [("replace", errno.EPERM), ("fsync", errno.EIO)]
)
def test_a_finished_result_that_can_t_be_put_in_place_is_kept(
    tmp_path, monkeypatch, call, number
):
    (tmp_path / "a.txt").write_text("old")
    monkeypatch.setattr(os, call, refuse(number))
    with pytest.raises(OSError, match=r"can't be put there .* kept as") as error:
        files.write_text(tmp_path / "a.txt", "new")
    monkeypatch.undo()
    files.remove_partials(tmp_path)
    files.remove_partial(tmp_path / "a.txt")
    (kept,) = {path.name for path in tmp_path.iterdir()} - {"a.txt"}
    assert str(error.value).endswith(f"{tmp_path / kept}")
    assert (tmp_path / kept).read_text() == "new"
    assert (tmp_path / "a.txt").read_text() == "old"


def test_names_of_files_that_are_not_utf_8_are_written_as_they_are(tmp_path):
    files.write_text(tmp_path / "a.csv", os.fsdecode(b"j\xf6rg"))
    assert (tmp_path / "a.csv").read_bytes() == b"j\xf6rg"
