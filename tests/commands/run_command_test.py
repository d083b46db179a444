"""Refusals in one line, exit codes, interruption, and a full disk."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

COMMAND = '''
"""Writes a file of zeros.

Example:
  hyperface-zeros --output=zeros.bin --size=10
"""

import pathlib
import signal
import sys
import time

import jax
from absl import flags

from hyperface_jax import InputError, files
from hyperface_jax.commands import progress, run_command

FLAGS = flags.FlagValues()
flags.DEFINE_string("output", None, "The file to write.", flag_values=FLAGS)
flags.DEFINE_integer(
    "size", 10, "Bytes to write.", lower_bound=0, flag_values=FLAGS
)
flags.DEFINE_float("wait", 0.0, "Seconds to wait.", flag_values=FLAGS)
flags.DEFINE_string("say", "", "What to say at the end.", flag_values=FLAGS)


def main():
    if FLAGS.output is None:
        raise InputError("--output is missing:\\nname the file to write")
    if FLAGS.size == 13:
        raise MemoryError("13 bytes")
    if FLAGS.size == 14:
        jax.numpy.zeros(2**44).block_until_ready()
    print("started", flush=True)
    time.sleep(FLAGS.wait)
    files.write_bytes(FLAGS.output, bytes(FLAGS.size))
    for _ in progress(range(3), description="counting"):
        pass
    print("written", FLAGS.say)


if __name__ == "__main__":
    # A runner started by nohup ignores it, and so would this.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    run_command(main, FLAGS)
'''


@pytest.fixture
def command(tmp_path):
    """The path of a small command, a script of its own."""
    path = tmp_path / "zeros.py"
    path.write_text(textwrap.dedent(COMMAND).lstrip())
    return path


def run(command, *arguments, **options):
    return subprocess.run(
        [sys.executable, command, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


def test_a_command_that_succeeds_exits_0(command, tmp_path):
    result = run(command, f"--output={tmp_path / 'zeros.bin'}", "--size=7")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["started", "written "]
    assert (tmp_path / "zeros.bin").read_bytes() == bytes(7)


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpfull"])
def test_help_shows_the_example_and_every_default(command, flag):
    result = run(command, flag)
    assert result.returncode == 0 and result.stderr == ""
    assert "hyperface-zeros --output=zeros.bin" in result.stdout
    assert "--size  (default '10')" in result.stdout
    assert "--output  (no default)" in result.stdout


def test_help_that_is_read_in_part_is_no_error(command):
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, command, "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "--output is missing: name the file to write"),
        (["--sise=3"], 2, "sise"),
        (["--size=many"], 2, "size"),
        (["--size=-1"], 2, "size"),
        (["--output=a", "zeros"], 2, "unexpected argument 'zeros'"),
        (["--output=a", "--size=13"], 1, "out of memory: 13 bytes"),
        (["--output=a", "--size=14"], 1, "out of memory: RESOURCE_EXHAUSTED"),
        (["--output=/proc/nothing/a"], 1, "/proc/nothing"),
    ],
)
def test_a_refusal_is_one_line_and_no_traceback(command, arguments, code, message):
    result = run(command, *arguments)
    assert result.returncode == code
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("zeros.py: ") and message in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_is_one_line_and_leaves_nothing_half_written(
    command, tmp_path, number
):
    process = subprocess.Popen(
        [sys.executable, command, f"--output={tmp_path / 'a.bin'}", "--wait=60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "started\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert len(errors.splitlines()) == 1 and "the same command continues" in errors
    assert sorted(os.listdir(tmp_path)) == ["zeros.py"]


def test_the_home_folder_is_found_where_the_shell_leaves_its_sign(command, tmp_path):
    environment = {**os.environ, "HOME": os.fspath(tmp_path)}
    result = run(command, "--output=~/zeros.bin", cwd="/", env=environment)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "zeros.bin").exists()


def test_a_home_that_nobody_has_is_refused(command):
    result = run(command, "--output=~nobody_of_this_name/zeros.bin")
    assert result.returncode == 2
    assert "--output=~nobody_of_this_name/zeros.bin: there is no such" in result.stderr


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("ascii", "j\\udcf6rg +/- 1 \\u5317"), ("latin-1", "j\\udcf6rg \xb1 1 \\u5317")],
)
def test_what_a_stream_can_t_show_is_shown_in_another_way(
    command, tmp_path, encoding, said
):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    text = b"j\xf6rg " + "± 1 北".encode()
    result = subprocess.run(
        [sys.executable, command, f"--output={tmp_path / 'a'}", b"--say=" + text],
        capture_output=True,
        env={**environment, "PYTHONUTF8": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode(encoding).splitlines()[-1] == f"written {said}"


def test_output_that_nobody_reads_is_no_failure_of_ours(command, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, command, f"--output={tmp_path / 'a'}"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, "")


def test_words_do_not_get_into_an_output_that_is_printed(command):
    result = run(command, "--output=/dev/stdout", "--size=7")
    assert result.stdout == "\0" * 7
    assert "started" in result.stderr and "written" in result.stderr


def test_a_closed_output_is_refused(command):
    line = f"exec {sys.executable} {command} --output=/dev/stdout >&-"
    result = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, text=True)
    assert result.returncode == 2 and "it is closed; name a file" in result.stderr


def test_closed_streams_are_no_hindrance(command, tmp_path):
    line = f"exec {sys.executable} {command} --output={tmp_path / 'a'} >&- 2>&-"
    assert subprocess.run(["sh", "-c", line]).returncode == 0
    assert (tmp_path / "a").exists()


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a file system of 64 KiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", os.fspath(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    for _ in range(20):
        if not subprocess.run(["umount", folder], capture_output=True).returncode:
            return
        time.sleep(0.1)


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(command, full_disk):
    output = full_disk / "zeros.bin"
    output.write_bytes(b"old")
    result = run(command, f"--output={output}", "--size=1000000")
    assert result.returncode == 1
    assert "the disk is full" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert os.listdir(full_disk) == ["zeros.bin"] and output.read_bytes() == b"old"
