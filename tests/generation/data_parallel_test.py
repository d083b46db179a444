"""Processes that train together: they agree, fail as one, and end as one."""

import errno
import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch

from bridges.generation.data_parallel import Workers, run_workers
from hyperface_jax import InputError


def average_in_worker(workers: Workers, gradients: torch.Tensor) -> None:
    parameters = [
        torch.nn.Parameter(torch.zeros(3)),
        torch.nn.Parameter(torch.zeros(2)),
    ]
    for parameter, piece in zip(
        parameters, gradients[workers.rank].split([3, 2]), strict=True
    ):
        parameter.grad = piece.clone()
    workers.average_gradients(parameters)
    gradients[workers.rank] = torch.cat([parameter.grad for parameter in parameters])
    gradients[workers.rank, 0] += workers.agree(100.0 + workers.rank)


def test_processes_average_gradients_and_agree():
    gradients = torch.arange(10.0).view(2, 5).share_memory_()
    run_workers(average_in_worker, (gradients,), 2)
    expected = torch.tensor([2.5, 3.5, 4.5, 5.5, 6.5])
    torch.testing.assert_close(gradients[0, 1:], expected[1:])
    torch.testing.assert_close(gradients[1], gradients[0])
    assert gradients[0, 0] == 102.5, "all take the value of process 0"


def refuse_in_worker(workers: Workers) -> None:
    if workers.rank == 1:
        raise InputError("no such folder; give another")
    workers.agree(1.0)


def test_what_a_process_refuses_is_refused(capfd):
    with pytest.raises(InputError, match=r"^no such folder; give another$"):
        run_workers(refuse_in_worker, (), 2)
    assert "Traceback" not in capfd.readouterr().err


def die_in_worker(workers: Workers) -> None:
    if workers.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    workers.agree(1.0)


def test_a_process_ended_from_outside_is_missed(capfd):
    with pytest.raises(MemoryError, match="goes on from the last checkpoint"):
        run_workers(die_in_worker, (), 2)
    assert "Traceback" not in capfd.readouterr().err


def fill_disk_in_worker(workers: Workers) -> None:
    if workers.rank == 1:
        raise OSError(errno.ENOSPC, "No space left on device")
    workers.agree(1.0)


def test_a_full_disk_in_a_process_is_passed_on():
    with pytest.raises(OSError, match="No space left") as raised:
        run_workers(fill_disk_in_worker, (), 2)
    assert raised.value.errno == errno.ENOSPC


def test_processes_end_with_a_terminated_call(tmp_path, root):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, time
            from hyperface_jax.commands import run_command
            from bridges.generation.data_parallel import run_workers
            from absl import flags

            def work(workers):
                print(os.getpid(), flush=True)
                time.sleep(600)

            if __name__ == "__main__":
                run_command(lambda: run_workers(work, (), 2), flags.FlagValues())
            """
        )
    )
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as process:
        children = [int(process.stdout.readline()) for _ in range(2)]
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
