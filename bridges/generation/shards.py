"""Which part of a dataset a process makes: as asked for, or as its launcher says."""

import os
import re
from collections.abc import Mapping

from bridges.generation.plan import Shard
from hyperface_jax import InputError

AUTO = "auto"
_SHARD = re.compile(r"(\d{1,9})/(\d{1,9})")


def find_shard(asked: str = "", environment: Mapping[str, str] = os.environ) -> Shard:
    """The shard of this process.

    Args:
      asked: ``"2/8"`` for the second of eight; ``"auto"`` for what torchrun, a SLURM
        array (``SLURM_ARRAY_TASK_ID``) or the tasks of ``srun`` say; empty for what
        torchrun says, or everything. An array is not asked without being told so: its
        tasks may as well make different datasets.
      environment: the variables of the process.

    Raises:
      InputError: no shard, one that does not exist, or a launcher that says nothing.
    """
    if asked not in ("", AUTO):
        return _parsed(asked)
    shard = _of_torchrun(environment)
    if shard is None and asked == AUTO:
        shard = _of_slurm(environment)
        if shard is None:
            raise InputError(
                "shard is auto, but neither torchrun (RANK, WORLD_SIZE) nor SLURM "
                "(SLURM_ARRAY_TASK_ID, SLURM_PROCID) says which one this process is; "
                "give it as 1/4"
            )
    return shard or Shard()


def local_rank(environment: Mapping[str, str] = os.environ) -> int | None:
    """Which of the processes on its machine this one is, from 0; None when alone.

    It takes the accelerator of that number.
    """
    for name, count in (
        ("LOCAL_RANK", "WORLD_SIZE"),
        ("SLURM_LOCALID", "SLURM_NTASKS"),
    ):
        rank = environment.get(name, "")
        if rank.isdecimal() and environment.get(count, "1") != "1":
            return int(rank)
    return None


def _parsed(text: str) -> Shard:
    match = _SHARD.fullmatch(text)
    shard = Shard(*map(int, match.groups())) if match else None
    if shard is None or not 1 <= shard.number <= shard.count:
        raise InputError(
            f"shard is {text!r}, expected i/n, such as 1/4 for the first of four, or "
            "auto"
        )
    return shard


def _of_torchrun(environment: Mapping[str, str]) -> Shard | None:
    return _numbered(environment, "RANK", "WORLD_SIZE")


def _of_slurm(environment: Mapping[str, str]) -> Shard | None:
    array = [
        environment.get(f"SLURM_ARRAY_TASK_{name}", "")
        for name in ("ID", "MIN", "MAX", "STEP")
    ]
    if all(value.isdecimal() for value in array):
        task, first, last, step = map(int, array)
        # With gaps, as in --array=1,5,7, no number says which one this is.
        if environment.get("SLURM_ARRAY_TASK_COUNT") != str((last - first) // step + 1):
            raise InputError(
                "shard is auto, but the numbers of the SLURM array are no range; give "
                "--array=1-8, or the shard as 1/8"
            )
        return Shard((task - first) // step + 1, (last - first) // step + 1)
    return _numbered(environment, "SLURM_PROCID", "SLURM_NTASKS")


def _numbered(environment: Mapping[str, str], rank: str, count: str) -> Shard | None:
    number, of = environment.get(rank, ""), environment.get(count, "")
    if not (number.isdecimal() and of.isdecimal()):
        return None
    shard = Shard(int(number) + 1, int(of))
    if shard.number > shard.count:
        raise InputError(
            f"{rank}={number} and {count}={of} in the environment: no such process; "
            "unset them, or give the shard as 1/4"
        )
    return shard
