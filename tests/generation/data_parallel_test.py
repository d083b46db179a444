"""Processes that train together: they agree, fail as one, and end as one."""

import errno
import os
import signal
import sys
import textwrap
import time

import pytest
import torch

from bridges.training import timed_training
from bridges.training.data_parallel import Workers, run_workers
from hyperface_jax import InputError
from tests.child_processes import started


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


def fail_in_worker(workers: Workers) -> None:
    if workers.rank == 1:
        raise ZeroDivisionError("by zero")
    workers.agree(1.0)


def test_a_defect_is_passed_on_with_its_traceback(capfd):
    with pytest.raises(ZeroDivisionError, match="by zero") as raised:
        run_workers(fail_in_worker, (), 2)
    assert "in fail_in_worker" in raised.value.__notes__[0]
    assert "Traceback" not in capfd.readouterr().err


class Counter:
    """State of a training, of steps that each take a while."""

    def __init__(self) -> None:
        self.steps = torch.zeros(())

    def update(self, progress: float, step: int) -> dict[str, float]:
        time.sleep(0.05)
        self.steps += 1
        return {"loss": 1.0}

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


def train_in_worker(workers: Workers, folder: str) -> None:
    """Trains for ever; says the number of its process at the tenth step."""
    counter = Counter()

    def update(progress: float, step: int) -> dict[str, float]:
        if counter.steps == 10:
            # In one piece: another process writes at the same time.
            os.write(1, f"{os.getpid()}\n".encode())
        return counter.update(progress, step)

    timed_training.train_for(
        1e6,
        update,
        {"counter": counter},
        folder,
        settings={},
        images_per_step=1,
        workers=workers,
        checkpoint_every=1e6,
    )


TRAINING = """
import sys
from hyperface_jax.commands import run_command
from bridges.training.data_parallel import run_workers
from tests.generation.data_parallel_test import train_in_worker
from absl import flags

if __name__ == "__main__":
    folder, count = sys.argv[1], int(sys.argv.pop(2))
    del sys.argv[1]
    run_command(
        lambda: run_workers(train_in_worker, (folder,), count), flags.FlagValues()
    )
"""


@pytest.mark.parametrize("count", [1, 2])
def test_a_terminated_training_saves_its_last_step(tmp_path, root, count):
    script = tmp_path / "script.py"
    script.write_text(TRAINING)
    with started(
        [sys.executable, script, tmp_path / "model", str(count)],
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as process:
        children = [int(process.stdout.readline()) for _ in range(count)]
        # To all of them, as a scheduler does.
        os.killpg(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(errors.splitlines()) == 1, errors
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
    saved = torch.load(tmp_path / "model" / "training.pt", weights_only=True)
    assert saved["step"] == saved["state"]["counter"]["steps"] >= 10
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["training.pt"]


def test_processes_end_with_a_terminated_call(tmp_path, root):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, time
            from hyperface_jax.commands import run_command
            from bridges.training.data_parallel import run_workers
            from absl import flags

            def work(workers):
                # In one piece: another process writes at the same time.
                os.write(1, f"{os.getpid()}\\n".encode())
                time.sleep(600)

            if __name__ == "__main__":
                run_command(lambda: run_workers(work, (), 2), flags.FlagValues())
            """
        )
    )
    with started(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": str(root)}
    ) as process:
        children = [int(process.stdout.readline()) for _ in range(2)]
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
