"""Worker processes give results in order, pass errors on, and are missed when gone."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from bridges.worker_processes import map_in_processes

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
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as process:
        assert process.stdout.readline() == "starting\n"
        os.killpg(process.pid, signal.SIGINT)
        printed, errors = process.communicate(timeout=60)
    assert (printed, errors) == ("interrupted\n", "")


def test_a_process_that_is_ended_from_outside_is_missed():
    with pytest.raises(MemoryError, match="smaller --num_processes"):
        list(map_in_processes(square, [3, -2, 4], 1))
