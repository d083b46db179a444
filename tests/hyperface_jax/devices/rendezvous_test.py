"""Processes meet, or say who is missing."""

import concurrent.futures
import socket

import pytest

from hyperface_jax import InputError
from hyperface_jax.devices import processes
from hyperface_jax.devices.rendezvous import meet


@pytest.fixture
def port() -> int:
    """A port that is free now."""
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def meet_all(port: int, ids: list[int], num_processes: int, seconds: float) -> list:
    """What each of several processes, here threads, gets."""
    with concurrent.futures.ThreadPoolExecutor(len(ids)) as pool:
        waiting = [
            pool.submit(meet, "localhost", port, num_processes, i, seconds=seconds)
            for i in ids
        ]
        return [found.exception() for found in waiting]


def test_all_meet_and_leave_the_port_free(port):
    for ids in ([0, 1, 2], [2, 1, 0]):
        assert meet_all(port, ids, 3, 20) == [None] * 3


def test_one_alone_needs_nobody(port):
    meet("localhost", port, 1, 0)


def test_whoever_is_missing_is_named(port):
    first, second = meet_all(port, [0, 1], 4, 1.5)
    assert "process 2, 3 did not come" in str(first)
    assert isinstance(first, InputError)
    assert "process 0" in str(second)
    assert isinstance(second, InputError)


def test_nobody_at_the_address(port):
    with pytest.raises(InputError, match="process 1 found no process 0"):
        meet("localhost", port, 2, 1, seconds=0.5)


def test_the_same_number_twice(port):
    first, *_ = meet_all(port, [0, 1, 1], 3, 10)
    assert "process 1 came twice" in str(first)


@pytest.mark.parametrize("address", ["localhost:99999", "localhost:0", "localhost:²"])
def test_no_port(address):
    with pytest.raises(InputError, match="must be host:port, the port from 1 to 65535"):
        processes.connect(address, 2, 0)


def test_a_port_in_use(port):
    with (
        socket.create_server(("", port)),
        pytest.raises(InputError, match="can't listen"),
    ):
        meet("localhost", port, 2, 0, seconds=0.5)


def test_strangers_are_ignored(port):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(meet, "localhost", port, 2, 0, seconds=20)
        while True:
            try:
                with socket.create_connection(("localhost", port)) as stranger:
                    stranger.sendall(b"GET / HTTP/1.1\n")
                break
            except OSError:
                continue
        second = pool.submit(meet, "localhost", port, 2, 1, seconds=20)
        assert first.exception() is None
        assert second.exception() is None


def test_a_host_that_nobody_knows(port, monkeypatch):
    monkeypatch.setattr("hyperface_jax.devices.rendezvous._LOST_SECONDS", 0.1)
    for process_id in (0, 1):
        # A name that can't be one: no name server is waited for.
        with pytest.raises(InputError, match=r"the host nobody\.\.invalid is unknown"):
            meet("nobody..invalid", port, 2, process_id, seconds=20)


def test_process_0_is_where_the_others_look_for_it(port, monkeypatch):
    monkeypatch.setattr("hyperface_jax.devices.rendezvous._LOST_SECONDS", 0.1)
    # Of the addresses kept for documentation: no machine has it.
    with pytest.raises(InputError, match="does not lead to this machine"):
        meet("192.0.2.1", port, 2, 0, seconds=20)


def test_another_program_at_the_port(port):
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        socket.create_server(("", port)) as server,
    ):
        meeting = pool.submit(meet, "localhost", port, 2, 1, seconds=20)
        with server.accept()[0] as visitor:
            visitor.recv(10)
            visitor.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert "another program listens" in str(meeting.exception())
