"""Batches of images: which, in what order, from where, and how much is in memory."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import weakref

import numpy as np
import pytest
from safetensors.torch import load_file

from bridges.datasets.decoding import UnreadableImage
from bridges.recognition import image_batches, loop
from bridges.recognition.image_batches import ImageBatches
from bridges.recognition.training import train_recogniser
from hyperface_jax import InputError
from tests.child_processes import started
from tests.recognition.plain_source import Plain
from tests.recognition.training_test import TINY, write_people

ORDERS = [np.array([0, 299, 300, 304]), np.array([304, 301, 5, 256])]
COLOURS = [
    [(0, 0, 7), (1, 43, 7), (0, 0, 9), (0, 4, 9)],
    [(0, 4, 9), (0, 1, 9), (0, 5, 7), (1, 0, 7)],
]


@pytest.mark.parametrize("cache_mb", [0, 1])
def test_positions_count_through_the_sources(cache_mb):
    images = ImageBatches(
        [Plain(7, 300), Plain(9, 5)], 16, cache_mb=cache_mb, num_processes=2
    )
    assert len(images) == 305
    assert (images.cache is None) == (cache_mb == 0)
    made = list(images.batches(iter(ORDERS)))
    assert [batch.pixels.shape for batch in made] == [(4, 16, 16, 3)] * 2
    for batch, colours, order in zip(made, COLOURS, ORDERS, strict=True):
        expected = np.broadcast_to(np.array(colours)[:, None, None], (4, 16, 16, 3))
        np.testing.assert_array_equal(batch.pixels, expected)
        np.testing.assert_array_equal(batch.rows, order)
        assert not batch.skipped


def test_the_cache_is_as_large_as_stated_and_no_larger():
    source, mib = [Plain(0, 64)], 64 * 3 * 32**2 / 2**20
    assert ImageBatches(source, 32, cache_mb=mib).cache.nbytes == mib * 2**20
    assert ImageBatches(source, 32, cache_mb=mib * 0.999).cache is None


def test_of_many_images_a_few_batches_are_in_memory(monkeypatch):
    """Beside those in flight between processes, of which the next test is."""
    images = ImageBatches([Plain(0, 100_000)], 32, cache_mb=0)
    made = []

    def decode(function, orders, *arguments, **settings):
        for order in orders:
            batch = np.zeros((len(order), 32, 32, 3), np.uint8)
            made.append(weakref.ref(batch))
            yield batch

    monkeypatch.setattr(image_batches, "map_in_processes", decode)
    for _ in images.batches(np.arange(64) + 64 * i for i in range(1000)):
        assert sum(batch() is not None for batch in made) <= 2
    assert len(made) == 1000


def test_batches_are_decoded_a_few_ahead():
    taken = []

    def orders():
        for i in range(1000):
            taken.append(i)
            yield np.arange(i, i + 8)

    images = ImageBatches([Plain(0, 100_000)], 8, cache_mb=0, num_processes=2)
    batches = images.batches(orders())
    for i in range(20):
        assert next(batches).pixels[0, 0, 0, 1] == i
        assert i < len(taken) <= i + 6
    batches.close()
    assert len(taken) < 30


@pytest.mark.parametrize("cache_mb", [0, 1])
def test_an_unreadable_image_is_named(cache_mb):
    with pytest.raises(UnreadableImage, match=r"plain 3/11\.png"):
        images = ImageBatches(
            [Plain(3, 20, unreadable=11)], 8, cache_mb=cache_mb, num_processes=1
        )
        list(images.batches([np.arange(20)]))


@pytest.mark.parametrize("cache_mb", [0, 1])
def test_an_unreadable_image_gives_its_place_to_another(cache_mb):
    settings = {"cache_mb": cache_mb, "num_processes": 1, "skip_unreadable": True}
    images = ImageBatches([Plain(3, 20, unreadable=11)], 8, **settings)
    first, second = images.batches([np.arange(8), np.array([11, 4, 11, 6])])
    assert not first.skipped
    assert second.rows.tolist() == [4, 4, 4, 6]
    assert second.pixels[:, 0, 0, 1].tolist() == [4, 4, 4, 6]
    ((path, reason),) = second.skipped.items()
    assert path.endswith("11.png") and "11.png" not in reason
    with pytest.raises(InputError, match=r"11\.png.*nor can any other"):
        list(images.batches([np.array([11, 11])]))


CONFIG = dataclasses.replace(TINY, epochs=2.5, batch_size=10)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    write_people(folder / "a")
    write_people(folder / "b", identities=3, images=3)
    return [folder / "a", folder / "b"]


@pytest.fixture(scope="module")
def cached(people, tmp_path_factory):
    output = tmp_path_factory.mktemp("cached") / "checkpoint"
    train_recogniser(people, output, CONFIG, num_threads=1)
    return output


def check_equal(one, two):
    first, second = (load_file(each / "model.safetensors") for each in (one, two))
    for name in first:
        assert np.array_equal(first[name], second[name]), name
    histories = [
        json.loads((each / "training.json").read_text())["history"]
        for each in (one, two)
    ]
    for rows in zip(*histories, strict=True):
        first, second = ({**row, "seconds": 0} for row in rows)
        assert first == second


def test_processes_that_decode_load_no_torch(root):
    program = "import bridges.recognition.image_batches, sys; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root
    )
    assert "bridges.worker_processes" in result.stdout.split()
    assert not {"torch", "jax", "scipy"} & {*result.stdout.split()}


class TestTraining:
    """What a training makes of images that do not fit."""

    def test_the_weights_are_the_same_bits(self, people, cached, tmp_path):
        train_recogniser(people, tmp_path / "c", CONFIG, num_threads=1, cache_mb=0)
        check_equal(cached, tmp_path / "c")

    def test_resumed_in_the_middle_of_an_epoch_they_are_as_well(
        self, people, cached, tmp_path, monkeypatch
    ):
        step = loop.train_step

        def fail(*arguments, progress, **settings):
            if progress > 0.5:
                raise OSError("the disk is full")
            return step(*arguments, progress=progress, **settings)

        settings = {"num_threads": 1, "cache_mb": 0, "checkpoint_minutes": 0}
        settings["num_processes"] = 1
        with monkeypatch.context() as patch, pytest.raises(OSError, match="is full"):
            patch.setattr(loop, "train_step", fail)
            train_recogniser(people, tmp_path / "c", CONFIG, **settings)
        assert (tmp_path / "c" / "progress.safetensors").exists()
        train_recogniser(people, tmp_path / "c", CONFIG, **settings)
        check_equal(cached, tmp_path / "c")

    def test_sources_of_one_s_own(self, tmp_path):
        config = dataclasses.replace(TINY, image_size=16, epochs=1.0)
        sources = [Plain(7, 40), Plain(9, 8)]
        record = train_recogniser(
            sources, tmp_path / "c", config, cache_mb=0, num_processes=1
        )
        assert record["data"]["images"] == 48 and record["data"]["identities"] == 8
        assert record["folders"] == ["plain 7", "plain 9"]
        with pytest.raises(InputError, match="plain 7: given twice"):
            train_recogniser([sources[0]] * 2, tmp_path / "d", config)
        with pytest.raises(InputError, match=r"plain 3.*1 of 20.*11\.png"):
            train_recogniser(Plain(3, 20, unreadable=11), tmp_path / "d", config)

    @pytest.mark.skipif(not os.path.isdir("/proc"), reason="lists children by /proc")
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_its_processes_end_with_it(self, people, tmp_path, root, number):
        command = [
            *(sys.executable, "-m", "bridges.cli.train", "--epochs=100000"),
            *(f"--dataset={people[0]}", f"--output={tmp_path / 'c'}"),
            *("--image_size=32", "--embedding_size=16", "--batch_size=16"),
            *("--cache_mb=0", "--num_processes=2", "--num_threads=1"),
            "--checkpoint_minutes=0",
        ]
        with started(command, cwd=root) as process:
            wait_until((tmp_path / "c" / "progress.safetensors").exists)
            children = children_of(process.pid)
            assert len(children) >= 2
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
            wait_until(lambda: not any(map(is_running, children)))
        assert process.returncode == (130 if number == signal.SIGTERM else -number)
        assert "Traceback" not in errors


def children_of(process: int) -> list[int]:
    with open(f"/proc/{process}/task/{process}/children") as file:
        return [int(child) for child in file.read().split()]


def is_running(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
