"""Signals are held back, repeated, given up on and answered in time."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from hyperface_jax import interruptions

posix = pytest.mark.skipif(os.name == "nt", reason="sends signals to processes")
NUMBERS = [n for n in interruptions.SIGNALS if n != getattr(signal, "SIGBREAK", None)]


@pytest.fixture
def handled(number):
    """The handler of a signal that whoever started the tests may have ignored."""
    before = signal.signal(number, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(number, before)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_waits_for_the_end_of_a_step(number, handled):
    steps = []
    with pytest.raises(KeyboardInterrupt), interruptions.held_back() as received:
        for step in range(3):
            signal.raise_signal(number)
            # An echo, as of a signal to the group.
            signal.raise_signal(number)
            steps.append(step)
            if received:
                break
    assert steps == [0] and received == [number]
    assert signal.getsignal(number) is handled


def test_a_signal_that_nobody_looks_for_is_raised_at_the_end():
    with pytest.raises(KeyboardInterrupt):
        with interruptions.held_back():
            signal.raise_signal(signal.SIGINT)
        pytest.fail("it went on")


def test_another_signal_a_second_later_interrupts_at_once(monkeypatch):
    monkeypatch.setattr(interruptions, "_ECHO", 0.0)
    seen = []
    with pytest.raises(KeyboardInterrupt), interruptions.held_back():
        signal.raise_signal(signal.SIGINT)
        seen.append(1)
        time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)
        seen.append(2)
    assert seen == [1]


def test_patience_with_a_step_ends(monkeypatch):
    monkeypatch.setattr(interruptions, "PATIENCE", 0.05)
    monkeypatch.setattr(interruptions, "_ECHO", 0.01)
    seen = []
    with pytest.raises(KeyboardInterrupt), interruptions.held_back():
        signal.raise_signal(signal.SIGINT)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            pass
        seen.append("it went on")
    assert not seen


def test_what_is_ignored_stays_ignored():
    """As under nohup, or in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptions.held_back() as received:
            signal.raise_signal(signal.SIGINT)
        assert not received
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_arrives():
    found = []

    def work():
        with interruptions.held_back() as received:
            found.append(received)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [[]]


def test_a_state_is_due_by_time_and_after_a_step_nobody_waits_for():
    assert interruptions.is_due(61.0, 60.0, 0.1)
    assert not interruptions.is_due(59.0, 60.0, 0.1)
    assert interruptions.is_due(4.0, 60.0, interruptions.PATIENCE + 0.1)


def start(body: str, root) -> subprocess.Popen:
    """A program that does ``body``, is answered with "gone", and says so when ready."""
    program = textwrap.dedent(
        """
        import hashlib, signal, sys, time
        from hyperface_jax import interruptions
        interruptions._LAST = 1.0
        with interruptions.answered("gone"):
            print("ready", flush=True)
        {body}
        """
    ).format(body=textwrap.indent(textwrap.dedent(body), " " * 4))
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@posix
@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(60)",
        # Returns to the interpreter after some hours.
        "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)",
        # Something that catches whatever comes.
        """
        while True:
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                pass
        """,
        # As an import of compiled code may.
        """
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            raise ImportError("numpy") from None
        """,
        # As an import that defines a named tuple.
        'exec("time.sleep(60)")',
    ],
    ids=["interpreter", "compiled", "deaf", "confused", "importing"],
)
def test_a_command_ends_in_time_whatever_it_does(body, root):
    with start(body, root) as process:
        time.sleep(0.2)
        process.terminate()
        printed, errors = process.communicate(timeout=60)
    assert (process.returncode, printed, errors) == (130, "", "gone\n")


@posix
def test_signals_while_a_command_ends_change_nothing(root):
    body = """
    try:
        print("at work", flush=True)
        time.sleep(60)
    finally:
        signal.raise_signal(signal.SIGTERM)
        print("tidied up", flush=True)
    """
    with start(body, root) as process:
        assert process.stdout.readline() == "at work\n"
        process.terminate()
        printed, errors = process.communicate(timeout=60)
    assert (process.returncode, printed, errors) == (130, "tidied up\n", "gone\n")


@posix
def test_the_end_of_the_interpreter_is_not_waited_for(root):
    body = """
    import atexit
    class Slow:
        def __del__(self):
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
    sys.slow = Slow()
    atexit.register(print, "registered")
    print("at work", flush=True)
    time.sleep(60)
    """
    with start(body, root) as process:
        assert process.stdout.readline() == "at work\n"
        process.terminate()
        printed, errors = process.communicate(timeout=60)
    assert (process.returncode, printed, errors) == (130, "registered\n", "gone\n")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    # As what a child process was interrupted by.
    [(SystemExit(0), 0, ""), (KeyboardInterrupt(), 130, "gone\n")],
)
def test_a_command_that_ends_by_itself_leaves_no_trace(error, code, words, capsys):
    before = [signal.getsignal(number) for number in interruptions.SIGNALS]
    threads = threading.active_count()
    with pytest.raises(SystemExit) as ended, interruptions.answered("gone"):
        raise error
    assert (ended.value.code, capsys.readouterr().err) == (code, words)
    assert [signal.getsignal(number) for number in interruptions.SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1
    end = time.monotonic() + 60
    while threading.active_count() > threads and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() <= threads
