"""One dataset from any number of workers, whatever happens to them."""

import errno
import json
import multiprocessing
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from bridges import convert_images, open_images
from bridges.datasets.formats.writer import FORMATS
from bridges.datasets.image_dataset import ImageDataset
from bridges.generation.plan import Plan, Shard
from bridges.generation.shards import find_shard, local_rank
from hyperface_jax import InputError
from tests.generation import painted_world
from tests.generation.painted_world import content_of, generate

OTHERS = [name for name in FORMATS if name != "folder"]


@pytest.fixture(scope="module")
def world(tmp_path_factory, painted):
    """A folder with references, and the dataset that one worker makes of them."""
    folder = tmp_path_factory.mktemp("world")
    rows = painted_world.unit_rows(40)
    painted_world.save_references(folder / "references.npz", rows)
    generate(folder, folder / "whole")
    return folder


def start(world, output, shard="", **changes) -> subprocess.Popen:
    """A worker in a process of its own."""
    places = [str(world / "references.npz"), str(output), shard, json.dumps(changes)]
    module = [sys.executable, "-m", "tests.generation.painted_world"]
    return subprocess.Popen([*module, *places], stderr=subprocess.PIPE)


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


def test_shards_one_after_another_are_one_dataset(world, tmp_path):
    output = tmp_path / "dataset"
    for number in (2, 3, 1):
        made = generate(world, output, f"{number}/3")
        assert made.complete == (number == 1)
        if not made.complete:
            with pytest.raises(InputError, match="unfinished"):
                open_images(output)
    assert content_of(output) == content_of(world / "whole")
    again = generate(world, output, "2/3")
    assert again.complete and again.images == 280


def test_four_workers_at_once_are_one_dataset(world, tmp_path):
    output = tmp_path / "dataset"
    workers = [start(world, output, f"{number}/4") for number in range(1, 5)]
    errors = [worker.communicate()[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, errors
    assert content_of(output) == content_of(world / "whole")


@pytest.fixture(scope="module")
def forked():
    """Starts workers in processes that have everything loaded already."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(
        ["tests.generation.painted_world", "bridges.generation.image_generation"]
    )

    def start(*arguments) -> multiprocessing.Process:
        process = server.Process(target=painted_world.work, args=arguments)
        process.start()
        return process

    return start


def test_killed_ten_times_the_same_call_ends_with_the_same_folder(
    world, tmp_path, forked
):
    """Each time with signal 9, soon after some more images are there."""
    chance, output = random.Random(0), tmp_path / "dataset"
    blocks = output / ".generation" / "blocks"

    def written() -> int:
        return sum(path.stat().st_size for path in blocks.glob("*.jsonl"))

    kills, repeated = 0, 0
    seen: dict[pathlib.Path, int] = {}
    for _ in range(10):
        before = written()
        process = forked(world, output, 0.02)
        while process.is_alive() and written() == before:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        images = (output / "images").rglob("*.jpg")
        found = {path: path.stat().st_mtime_ns for path in images}
        repeated += sum(found[path] != made for path, made in seen.items())
        seen = found
    assert kills >= 7 and len(seen) < 280, "the check has something to check"
    # Only what was being written when the kill came is made twice.
    assert repeated <= kills
    assert generate(world, output).complete
    assert content_of(output) == content_of(world / "whole")
    assert not (output / ".generation").exists()


def test_killed_workers_are_followed_by_others_in_another_number(
    world, tmp_path, monkeypatch
):
    monkeypatch.setenv("PAINTED_SLEEP", "0.05")
    chance, output = random.Random(1), tmp_path / "dataset"
    blocks = output / ".generation" / "blocks"
    for shards in (("1/2", "2/2"), ("1/3", "3/3")):
        workers = [start(world, output, shard) for shard in shards]
        before = len(list(blocks.glob("*.jsonl")))
        while len(list(blocks.glob("*.jsonl"))) < before + 4:
            assert all(worker.poll() is None for worker in workers)
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.1))
        for worker in workers:
            worker.kill()
            worker.communicate()
            assert worker.returncode == -signal.SIGKILL
    monkeypatch.delenv("PAINTED_SLEEP")
    made = generate(world, output)
    assert made.complete
    assert content_of(output) == content_of(world / "whole")


def test_two_workers_are_not_given_the_same_shard(world, tmp_path, monkeypatch):
    monkeypatch.setenv("PAINTED_SLEEP", "0.2")
    output = tmp_path / "dataset"
    worker = start(world, output, "1/2")
    work = output / ".generation"
    while not list(work.glob("blocks/*.jsonl")):
        time.sleep(0.01)
    monkeypatch.delenv("PAINTED_SLEEP")
    with pytest.raises(InputError, match=r"another process makes shard 1/2 of it"):
        generate(world, output, "1/2")
    # All others may be made meanwhile, even by a worker that counts otherwise.
    assert not generate(world, output).complete
    worker.communicate()
    assert worker.returncode == 0
    assert content_of(output) == content_of(world / "whole")


@pytest.fixture
def half(world, tmp_path):
    """Half of a dataset, and the journal of its first block."""
    output = tmp_path / "dataset"
    generate(world, output, "1/2")
    journal = output / ".generation" / "blocks" / "000000.jsonl"
    return output, journal


def first_image(output: pathlib.Path) -> pathlib.Path:
    return output / "images" / "000000" / "000000_000.jpg"


def cut_line(output, journal):
    journal.write_bytes(journal.read_bytes()[:-20])


def strange_lines(output, journal):
    lines = b'{"record": 7}\n{"sha256": "", "record": {"identity": 1e400}}\n[]\n'
    journal.write_bytes(journal.read_bytes() + lines)


def no_journal(output, journal):
    journal.write_bytes(b"\0" * 100)


def cut_image(output, journal):
    path = first_image(output)
    path.write_bytes(path.read_bytes()[:-50])


def no_image(output, journal):
    first_image(output).unlink()


def other_image(output, journal):
    second = output / "images" / "000000" / "000000_001.jpg"
    shutil.copy(second, first_image(output))


@pytest.mark.parametrize(
    "damage",
    [cut_line, strange_lines, no_journal, cut_image, no_image, other_image],
    ids=lambda damage: damage.__name__,
)
def test_damage_is_found_and_made_good(world, half, damage):
    output, journal = half
    damage(output, journal)
    assert generate(world, output).complete
    assert content_of(output) == content_of(world / "whole")


def test_a_full_disk_costs_nothing_but_time(world, tmp_path, monkeypatch):
    output, write, written = tmp_path / "dataset", pathlib.Path.write_bytes, []

    def full(path, content):
        if path.suffix == ".jpg":
            written.append(path)
            if len(written) == 100:
                write(path, content[:10])
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(OSError) as raised:
        generate(world, output)
    assert raised.value.errno == errno.ENOSPC
    monkeypatch.setattr(pathlib.Path, "write_bytes", write)
    generate(world, output)
    assert content_of(output) == content_of(world / "whole")


def test_a_dying_process_is_told_and_loses_nothing(world, tmp_path, monkeypatch):
    output = tmp_path / "dataset"
    monkeypatch.setenv("PAINTED_SLEEP", "0.05")
    worker = start(world, output, num_processes=2)
    blocks = output / ".generation" / "blocks"
    while not list(blocks.glob("*.jsonl")):
        time.sleep(0.01)
    children = subprocess.run(
        ["pgrep", "-P", str(worker.pid), "-f", "spawn_main"],
        capture_output=True,
        text=True,
    ).stdout.split()
    if not children:
        worker.kill()
        pytest.skip("pgrep finds no worker")
    subprocess.run(["kill", "-9", children[0]], check=True)
    _, errors = worker.communicate()
    assert worker.returncode == 1 and b"a worker process was killed" in errors
    monkeypatch.delenv("PAINTED_SLEEP")
    generate(world, output)
    assert content_of(output) == content_of(world / "whole")


@pytest.mark.parametrize(
    "changes",
    [
        {"beta": 0.5},
        {"seed": 1},
        {"images_per_identity": 8},
        {"min_cosine": 0.1},
        {"tries": 2},
        {"noise": 5.0},
    ],
    ids=str,
)
def test_an_output_of_another_plan_is_refused_with_the_difference(world, half, changes):
    output, _ = half
    name = next(iter(changes))
    with pytest.raises(InputError, match=rf"dataset.*{name} = .*, asked for"):
        generate(world, output, **changes)
    with pytest.raises(InputError, match=rf"whole.*{name} = .*, asked for"):
        generate(world, world / "whole", **changes)


@pytest.mark.parametrize("format", OTHERS)
def test_other_formats_hold_what_the_folder_holds(world, tmp_path, format):
    suffix = ".zip" if FORMATS[format].is_file else ""
    output, converted = tmp_path / f"made{suffix}", tmp_path / f"converted{suffix}"
    assert not generate(world, output, "1/2", format=format).complete
    assert generate(world, output, "2/2", format=format).complete
    assert sorted(path.name for path in tmp_path.iterdir()) == [output.name]
    convert_images(world / "whole", converted, format=format)
    made, expected = open_images(output), open_images(converted)
    assert len(made) == len(expected) == 280
    assert list(made.identities) == list(expected.identities)
    assert made.labels.tolist() == expected.labels.tolist()
    for row in range(280):
        assert made.read(row) == expected.read(row)
    source = ImageDataset(world / "whole")
    known = ("seed", "reference_cosine", "tries", "flag")
    for record, original in zip(made.records, source.records, strict=True):
        assert all(record[name] == original[name] for name in known)
    # It is known for finished, and for what it is.
    assert generate(world, output, format=format).complete
    with pytest.raises(InputError, match="seed = 0, asked for 1"):
        generate(world, output, format=format, seed=1)


@pytest.mark.parametrize("format", ["webdataset", "recordio"])
def test_other_formats_are_byte_equal_after_a_stop(
    world, tmp_path, format, monkeypatch
):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    generate(world, whole, format=format)
    write, left = FORMATS[format].write, [50]
    monkeypatch.setattr("bridges.datasets.format_output._EVERY", -1.0)

    def stop(self, image):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        write(self, image)

    monkeypatch.setattr(FORMATS[format], "write", stop)
    for _ in range(3):
        left[0] = 50
        with pytest.raises(KeyboardInterrupt):
            generate(world, torn, format=format)
    monkeypatch.setattr(FORMATS[format], "write", write)
    generate(world, torn, format=format)
    assert content_of(torn) == content_of(whole)


def test_who_comes_while_another_finishes_makes_nothing_again(
    world, tmp_path, monkeypatch
):
    """The second worker starts when the first has all images, at several moments."""
    from bridges.generation.dataset_output import DatasetOutput
    from bridges.generation.draft import Draft, OpenBlock

    put, written, others = OpenBlock.put, [], []
    monkeypatch.setattr(
        OpenBlock,
        "put",
        lambda self, row, *of: (written.append(row), put(self, row, *of)),
    )

    def meanwhile(self, *arguments, of, **keywords):
        if not others:
            others.append(None)
            before = len(written)
            others[0] = generate(world, output, "2/2").complete
            assert len(written) == before
        return of(self, *arguments, **keywords)

    for place, name in ((DatasetOutput, "finish"), (Draft, "remove")):
        output = tmp_path / name
        others.clear()
        with monkeypatch.context() as patch:
            own = getattr(place, name)
            patch.setattr(
                place,
                name,
                lambda self, *a, own=own, **k: meanwhile(self, *a, of=own, **k),
            )
            assert generate(world, output).complete
        # It could not tell before the description was written.
        assert others == [name == "remove"]
        assert content_of(output) == content_of(world / "whole")
        assert not (output / ".generation").exists()


def test_an_output_that_was_begun_in_another_format_is_refused(world, tmp_path):
    generate(world, tmp_path / "a", "1/2", format="webdataset")
    with pytest.raises(InputError, match=r"format = 'webdataset', asked"):
        generate(world, tmp_path / "a", "1/2")
    generate(world, tmp_path / "b", "1/2")
    with pytest.raises(InputError, match=r"holds 'dataset\.json'"):
        generate(world, tmp_path / "b", "1/2", format="webdataset")


def test_a_folder_of_something_else_is_left_alone(world, tmp_path):
    (tmp_path / "holiday.txt").write_text("mine")
    for format in ("folder", "webdataset"):
        with pytest.raises(InputError, match=r"holds 'holiday\.txt'"):
            generate(world, tmp_path, format=format)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]
