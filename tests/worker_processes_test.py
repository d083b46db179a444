"""Worker processes give results in order, pass errors on, and are missed when gone."""

import multiprocessing
import os
import pathlib
import signal
import sys
import textwrap
import threading
import time

import pytest

from bridges.worker_processes import map_in_processes
from tests.child_processes import started

_offset = 0


def set_offset(value: int) -> None:
    global _offset
    _offset = value


def square(number: int) -> tuple[int, bool]:
    """The square of a number from 0, and whether another process than pytest's did."""
    if number == -1:
        raise ValueError("negative")
    if number == -2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2 + _offset, multiprocessing.parent_process() is not None


def test_results_come_in_order_from_prepared_processes():
    made = map_in_processes(
        square, iter(range(20)), 2, initializer=set_offset, arguments=(5,)
    )
    assert list(made) == [(number**2 + 5, True) for number in range(20)]


def test_an_error_is_passed_on():
    made = map_in_processes(square, [3, -1, 4], 1)
    assert next(made) == (9, True)
    with pytest.raises(ValueError, match="negative"):
        next(made)


def test_an_error_of_the_preparation_is_passed_on():
    made = map_in_processes(square, [3, 4], 1, initializer=int, arguments=("three",))
    with pytest.raises(ValueError, match="'three'"):
        next(made)


def test_ctrl_c_of_a_terminal_is_answered_by_one_process(tmp_path, root):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import time
            from bridges.worker_processes import map_in_processes

            if __name__ == "__main__":
                try:
                    list(map_in_processes(abs, [-1], 1))
                except KeyboardInterrupt:
                    print("interrupted")
            else:
                # Imported by the worker: at its start, before it is told anything.
                print("starting", flush=True)
                time.sleep(3)
            """
        )
    )
    with started(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": str(root)}
    ) as process:
        assert process.stdout.readline() == "starting\n"
        os.killpg(process.pid, signal.SIGINT)
        printed, errors = process.communicate(timeout=60)
    assert (printed, errors) == ("interrupted\n", "")


def record_and_sleep(path: pathlib.Path) -> None:
    (path / str(os.getpid())).touch()
    time.sleep(600)


def wait_for_files(folder: pathlib.Path, count: int) -> list[int]:
    """The numbers that ``count`` files of a folder have for names."""
    end = time.monotonic() + 60
    while len(found := list(folder.iterdir())) < count and time.monotonic() < end:
        time.sleep(0.01)
    return [int(path.name) for path in found]


def assert_gone(processes: list[int]) -> None:
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


@pytest.mark.parametrize("to_all", [False, True], ids=["one", "all"])
def test_a_terminated_program_ends_its_processes_in_their_work(tmp_path, root, to_all):
    program = textwrap.dedent(
        """
        import pathlib
        from bridges.worker_processes import map_in_processes
        from hyperface_jax import interruptions
        from tests.worker_processes_test import record_and_sleep

        if __name__ == "__main__":
            with interruptions.answered("interrupted"):
                list(map_in_processes(record_and_sleep, [pathlib.Path("pids")], 1))
        """
    )
    script, folder = tmp_path / "script.py", tmp_path / "pids"
    script.write_text(program)
    folder.mkdir()
    with started(
        [sys.executable, script],
        stdout=None,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as process:
        children = wait_for_files(folder, 1)
        (os.killpg if to_all else os.kill)(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted\n")
    assert_gone(children)


def test_closing_waits_for_no_work_in_flight(tmp_path):
    made = map_in_processes(record_and_sleep, [tmp_path] * 9, 2)
    thread = threading.Thread(target=wait_and_interrupt, args=(tmp_path,))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        next(made)
    thread.join()
    assert_gone(wait_for_files(tmp_path, 2))


def wait_and_interrupt(folder: pathlib.Path) -> None:
    wait_for_files(folder, 2)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def test_an_answer_that_can_not_be_sent_is_no_lack_of_memory():
    with pytest.raises((TypeError, AttributeError), match="pickle"):
        list(map_in_processes(open_null, [0], 1))


def open_null(number: int):
    return open(os.devnull)


def test_a_process_that_is_ended_from_outside_is_missed():
    with pytest.raises(MemoryError, match="smaller --num_processes"):
        list(map_in_processes(square, [3, -2, 4], 1))
