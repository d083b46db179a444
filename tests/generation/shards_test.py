"""How a plan is divided, and which part a launcher says."""

import numpy as np
import pytest

from bridges.generation.plan import Plan, Shard
from bridges.generation.shards import find_shard, local_rank
from hyperface_jax import InputError


@pytest.mark.parametrize("plan", [Plan(1, 1), Plan(7, 9), Plan(40, 64), Plan(300, 25)])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_every_image_is_in_one_block_of_one_shard(plan, count):
    shards = [Shard(number, count) for number in range(1, count + 1)]
    blocks = [block for shard in shards for block in shard.blocks(plan)]
    rows = [row for block in blocks for row in plan.rows(block)]
    assert sorted(rows) == list(range(len(plan)))
    images = [plan.image(row) for row in sorted(rows)]
    expected = np.indices((plan.identities, plan.images_per_identity)).reshape(2, -1)
    assert np.array_equal(np.array(images).T, expected)
    assert [plan.row(*image) for image in images] == sorted(rows)


@pytest.mark.parametrize(
    ("asked", "environment", "shard"),
    [
        ("", {}, (1, 1)),
        ("2/4", {"RANK": "0", "WORLD_SIZE": "8"}, (2, 4)),
        ("", {"RANK": "3", "WORLD_SIZE": "8"}, (4, 8)),
        ("", {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (1, 1)),
        ("auto", {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (2, 2)),
        (
            "auto",
            {
                "SLURM_ARRAY_TASK_ID": "7",
                "SLURM_ARRAY_TASK_MIN": "3",
                "SLURM_ARRAY_TASK_MAX": "9",
                "SLURM_ARRAY_TASK_STEP": "2",
                "SLURM_ARRAY_TASK_COUNT": "4",
            },
            (3, 4),
        ),
    ],
)
def test_the_shard_that_a_launcher_says(asked, environment, shard):
    assert find_shard(asked, environment) == shard


@pytest.mark.parametrize(
    ("asked", "environment"),
    [
        ("0/4", {}),
        ("5/4", {}),
        ("1", {}),
        ("one/two", {}),
        ("auto", {}),
        ("", {"RANK": "8", "WORLD_SIZE": "8"}),
        (
            "auto",
            {
                "SLURM_ARRAY_TASK_ID": "7",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_ARRAY_TASK_MAX": "7",
                "SLURM_ARRAY_TASK_STEP": "1",
                "SLURM_ARRAY_TASK_COUNT": "3",
            },
        ),
    ],
)
def test_shards_that_do_not_exist_are_refused(asked, environment):
    with pytest.raises(InputError, match=r"1/[48]"):
        find_shard(asked, environment)


def test_who_is_alone_on_a_machine_takes_any_accelerator():
    assert local_rank({}) is None
    assert local_rank({"LOCAL_RANK": "0", "WORLD_SIZE": "1"}) is None
    assert local_rank({"LOCAL_RANK": "3", "WORLD_SIZE": "4"}) == 3
    assert local_rank({"SLURM_LOCALID": "1", "SLURM_NTASKS": "2"}) == 1
