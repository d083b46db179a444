"""One dataset from any number of workers, whatever happens to them."""

import contextlib
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

from bridges import open_images
from bridges.datasets.image_dataset import ImageDataset
from bridges.generation.dataset_output import DatasetOutput
from bridges.generation.draft import Draft, OpenBlock
from bridges.generation.plan import Plan
from hyperface_jax import InputError
from hyperface_jax.artifacts import HeldElsewhere, Output
from tests.generation import painted_world
from tests.generation.painted_world import content_of, generate


def start(crowd, output, shard="", **changes) -> subprocess.Popen:
    """A worker in a process of its own."""
    places = [str(crowd / "references.npz"), str(output), shard, json.dumps(changes)]
    module = [sys.executable, "-m", "tests.generation.painted_world"]
    return subprocess.Popen([*module, *places], stderr=subprocess.PIPE)


def test_shards_one_after_another_are_one_dataset(crowd, tmp_path):
    output = tmp_path / "dataset"
    for number in (2, 3, 1):
        made = generate(crowd, output, f"{number}/3")
        assert made.complete == (number == 1)
        if not made.complete:
            with pytest.raises(InputError, match="unfinished"):
                open_images(output)
    assert content_of(output) == content_of(crowd / "whole")
    again = generate(crowd, output, "2/3")
    assert again.complete and again.images == 280


def test_four_workers_at_once_are_one_dataset(crowd, tmp_path):
    output = tmp_path / "dataset"
    workers = [start(crowd, output, f"{number}/4") for number in range(1, 5)]
    errors = [worker.communicate()[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, errors
    assert content_of(output) == content_of(crowd / "whole")


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
    crowd, tmp_path, forked
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
        process = forked(crowd, output, 0.02)
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
    assert generate(crowd, output).complete
    assert content_of(output) == content_of(crowd / "whole")
    assert not (output / ".generation").exists()


def test_killed_workers_are_followed_by_others_in_another_number(
    crowd, tmp_path, monkeypatch
):
    monkeypatch.setenv("PAINTED_SLEEP", "0.05")
    chance, output = random.Random(1), tmp_path / "dataset"
    blocks = output / ".generation" / "blocks"
    for shards in (("1/2", "2/2"), ("1/3", "3/3")):
        workers = [start(crowd, output, shard) for shard in shards]
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
    made = generate(crowd, output)
    assert made.complete
    assert content_of(output) == content_of(crowd / "whole")


def test_two_workers_are_not_given_the_same_shard(crowd, tmp_path, monkeypatch):
    monkeypatch.setenv("PAINTED_SLEEP", "0.2")
    output = tmp_path / "dataset"
    worker = start(crowd, output, "1/2")
    work = output / ".generation"
    while not list(work.glob("blocks/*.jsonl")):
        time.sleep(0.01)
    monkeypatch.delenv("PAINTED_SLEEP")
    with pytest.raises(InputError, match=r"another process makes shard 1/2 of it"):
        generate(crowd, output, "1/2")
    # All others may be made meanwhile, even by a worker that counts otherwise.
    assert not generate(crowd, output).complete
    worker.communicate()
    assert worker.returncode == 0
    assert content_of(output) == content_of(crowd / "whole")


@pytest.fixture
def half(crowd, tmp_path):
    """Half of a dataset, and the journal of its first block."""
    output = tmp_path / "dataset"
    generate(crowd, output, "1/2")
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
def test_damage_is_found_and_made_good(crowd, half, damage):
    output, journal = half
    damage(output, journal)
    assert generate(crowd, output).complete
    assert content_of(output) == content_of(crowd / "whole")


def test_a_full_disk_costs_nothing_but_time(crowd, tmp_path, monkeypatch):
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
        generate(crowd, output)
    assert raised.value.errno == errno.ENOSPC
    monkeypatch.setattr(pathlib.Path, "write_bytes", write)
    generate(crowd, output)
    assert content_of(output) == content_of(crowd / "whole")


def test_a_dying_process_is_told_and_loses_nothing(crowd, tmp_path, monkeypatch):
    output = tmp_path / "dataset"
    monkeypatch.setenv("PAINTED_SLEEP", "0.05")
    worker = start(crowd, output, num_processes=2)
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
    generate(crowd, output)
    assert content_of(output) == content_of(crowd / "whole")


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
def test_an_output_of_another_plan_is_refused_with_the_difference(crowd, half, changes):
    output, _ = half
    name = next(iter(changes))
    with pytest.raises(InputError, match=rf"dataset.*{name} = .*, asked for"):
        generate(crowd, output, **changes)
    with pytest.raises(InputError, match=rf"whole.*{name} = .*, asked for"):
        generate(crowd, crowd / "whole", **changes)


def test_who_comes_while_another_finishes_makes_nothing_again(
    crowd, tmp_path, monkeypatch
):
    """The second worker starts when the first has all images, at several moments."""
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
            others[0] = generate(crowd, output, "2/2").complete
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
            assert generate(crowd, output).complete
        # It could not tell before the description was written.
        assert others == [name == "remove"]
        assert content_of(output) == content_of(crowd / "whole")
        assert not (output / ".generation").exists()


def test_who_finds_all_images_there_finishes_or_is_told_that_another_does(
    crowd, tmp_path, monkeypatch
):
    """However long counting takes: the output is not held for it."""
    output = tmp_path / "dataset"
    monkeypatch.setattr("bridges.generation.dataset_output._PATIENCE", 0.3)
    real = Draft.images_made

    def counted(draft):
        found = real.fget(draft)
        if found == 280:
            # While this one counts, another has counted, too, and takes the output.
            with Output(output, lambda: None, is_folder=True).writing():
                pass
        return found

    monkeypatch.setattr(Draft, "images_made", property(counted))
    with monkeypatch.context() as patch:
        # Another finishes, for long.
        patch.setattr(DatasetOutput, "holding", held_elsewhere)
        (output / ".generation").mkdir(parents=True)
        DatasetOutput._begin(dataset_output(crowd, output))
        made = generate(crowd, output)
        assert (made.images, made.complete) == (280, False)
    assert generate(crowd, output, "2/2").complete
    assert content_of(output) == content_of(crowd / "whole")


@contextlib.contextmanager
def held_elsewhere(self):
    raise HeldElsewhere("held")
    yield


def dataset_output(crowd, output) -> DatasetOutput:
    """That of the whole dataset, at another place."""
    description = json.loads((crowd / "whole" / "dataset.json").read_text())
    return DatasetOutput(output, "folder", description["settings"], Plan(40, 7))


@pytest.mark.parametrize("name", ["file_name", "identity", "flag", "redraws"])
def test_groups_hide_no_entry_of_a_record(crowd, tmp_path, name):
    rows, values = painted_world.unit_rows(3), np.array(["x", "y", "x"])
    painted_world.save_references(
        tmp_path / "references.npz", rows, groups={name: values, "gender": values}
    )
    assert generate(tmp_path, tmp_path / "a", images_per_identity=2).complete
    records = ImageDataset(tmp_path / "a").records
    for record in records:
        value = values[record["identity"]]
        assert record[f"group_{name}"] == record["gender"] == value
        assert record["file_name"].endswith(".jpg") and record["flag"] == ""
    assert f"| group_{name} | x | 2 |" in (tmp_path / "a" / "README.md").read_text()


def test_references_are_read_before_models_are_loaded(crowd, tmp_path, monkeypatch):
    monkeypatch.setattr("bridges.generation.image_generation.ImageMaker", None)
    with pytest.raises(InputError, match="no such file"):
        generate(tmp_path, tmp_path / "a")


def test_a_damaged_plan_is_refused_with_what_to_do(crowd, half):
    output, _ = half
    (output / ".generation" / "plan.json").write_text("{")
    with pytest.raises(InputError, match=r"plan\.json: not JSON.*remove .*generation"):
        generate(crowd, output)
