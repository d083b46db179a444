"""Stopping, checkpoints, resuming to the same bits."""

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import types

import chex
import numpy as np
import pytest

from hyperface_jax import InputError, PackingConfig, pack_embeddings
from hyperface_jax.packing import checkpoint, clock, packing
from hyperface_jax.packing.problem import Problem
from hyperface_jax.packing.solver import Span
from tests.hyperface_jax import packing_oracles

ROWS = packing_oracles.clustered_rows(24, 8)


def interrupt_at(iteration: int | None, seen: list[int]):
    def on_progress(done, terms):
        seen.append(done)
        if done == iteration:
            os.kill(os.getpid(), signal.SIGINT)

    return on_progress


@pytest.fixture
def one_by_one(monkeypatch):
    """Every step is dispatched by itself."""
    monkeypatch.setattr("hyperface_jax.packing.clock.SECONDS_A_DISPATCH", 0.0)


def dispatched(monkeypatch, steps: int) -> None:
    """Has so many steps dispatched at once, the last dispatch of a run excepted."""

    def span(self, done, config):
        left = config.iterations - done
        return Span.of(done, min(steps, left), config.iterations - 1)

    monkeypatch.setattr("hyperface_jax.packing.clock.Clock.span", span)


CASES = {
    "finished": (ROWS, {"num_iterations": 30, "batch_size": 10}),
    "converged": (ROWS, {"num_iterations": 400, "tolerance": 1e-3}),
    "optimal": (
        packing_oracles.random_rows(5, 8),
        {"num_iterations": 400, "regularization_weight": 0.0, "tolerance": 1e-5},
    ),
}


@pytest.mark.parametrize("method", ["annealed", "algorithm1", "algorithm2"])
@pytest.mark.parametrize("case", CASES)
def test_how_steps_are_dispatched_changes_no_bit(method, case, monkeypatch):
    """Thirteen at once: the same rows, history and end, amid a dispatch or not."""
    rows, settings = CASES[case]
    config = PackingConfig(method=method, **settings)
    found = []
    for steps in (1, 13):
        dispatched(monkeypatch, steps)
        found.append(pack_embeddings(rows, ROWS, config))
    single, several = found
    chex.assert_trees_all_equal(
        (several.embeddings, several.history), (single.embeddings, single.history)
    )
    assert several.stopped == single.stopped
    if method == "annealed":
        assert several.stopped.startswith(case)
    if case != "finished":
        # Amid a dispatch, so steps beyond the end were taken back.
        assert len(several.history["objective"]) % 13


@pytest.mark.parametrize("method", ["annealed", "algorithm1", "algorithm2"])
def test_an_interrupted_descent_goes_on_to_the_same_bits(
    method, tmp_path, monkeypatch, one_by_one
):
    monkeypatch.setattr("hyperface_jax.packing.descent._SECONDS_BETWEEN_REPORTS", -1)
    config = PackingConfig(
        method=method, num_iterations=30, decay_every=7, batch_size=10
    )
    whole = pack_embeddings(ROWS, ROWS, config)
    path, seen = tmp_path / "checkpoint.npz", []

    def go_on(stop=None):
        return pack_embeddings(
            ROWS,
            ROWS,
            config,
            checkpoint_path=path,
            on_progress=interrupt_at(stop, seen),
        )

    for stop in (1, 11, 12):
        with pytest.raises(KeyboardInterrupt):
            go_on(stop)
    resumed = go_on()
    assert seen == [*range(1, 31), 30], "no iteration was done twice"
    np.testing.assert_array_equal(resumed.embeddings, whole.embeddings)
    for name, values in whole.history.items():
        np.testing.assert_array_equal(resumed.history[name], values)
    # What had finished is there as well, until whoever asked for it has it.
    del seen[:]
    again = go_on()
    assert seen == [30]
    np.testing.assert_array_equal(again.embeddings, whole.embeddings)


def test_a_killed_descent_goes_on_from_its_checkpoint(tmp_path, root):
    """kill -9 at whatever point, twice; the result is that of one run."""
    script = textwrap.dedent(
        """
        import sys
        import numpy as np
        sys.path.insert(0, sys.argv[3])
        from tests.hyperface_jax import packing_oracles
        from hyperface_jax import PackingConfig, pack_embeddings
        from hyperface_jax.packing import clock, descent
        descent._SECONDS_BETWEEN_REPORTS = -1
        clock.SECONDS_A_DISPATCH = 0.0
        rows = packing_oracles.clustered_rows(24, 8)
        def report(done, terms):
            print(done, flush=True)
        result = pack_embeddings(
            rows, rows, PackingConfig(method="algorithm1", num_iterations=1000),
            checkpoint_path=sys.argv[1], checkpoint_seconds=0.1, on_progress=report,
        )
        np.save(sys.argv[2], result.embeddings)
        """
    )
    path, output = tmp_path / "checkpoint.npz", tmp_path / "result.npy"
    tests = root / "tests" / "hyperface_jax"
    command = [sys.executable, "-c", script, path, output, tests]
    for _ in range(2):
        process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
        for _ in process.stdout:
            if path.exists():
                break
        process.kill()
        process.wait()
        process.stdout.close()
    with np.load(path) as content:
        saved = json.loads(str(content["metadata"]))["iteration"]
    last = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    assert int(last.stdout.split()[0]) == saved + 1 > 1
    config = PackingConfig(method="algorithm1", num_iterations=1000)
    whole = pack_embeddings(ROWS, ROWS, config)
    np.testing.assert_array_equal(np.load(output), whole.embeddings)


def test_steps_too_long_to_wait_for_are_saved_one_by_one(
    tmp_path, monkeypatch, one_by_one
):
    monkeypatch.setattr("hyperface_jax.interruptions.PATIENCE", 0.0)
    monkeypatch.setattr("hyperface_jax.packing.descent._SECONDS_BETWEEN_REPORTS", -1)
    path, saved = tmp_path / "checkpoint.npz", []

    def on_progress(done, terms):
        # Told before the state is saved.
        if path.exists():
            with np.load(path) as content:
                saved.append((done, len(content["history"])))

    config = PackingConfig(method="algorithm1", num_iterations=4)
    pack_embeddings(
        ROWS,
        ROWS,
        config,
        checkpoint_path=path,
        checkpoint_seconds=1e6,
        on_progress=on_progress,
    )
    assert saved == [(2, 1), (3, 2), (4, 3), (4, 4)]


def test_a_checkpoint_of_the_version_before_the_precision_is_ours():
    settings = {
        "method": "annealed",
        "num_iterations": 5,
        "time_limit": None,
        "tolerance": None,
        "learning_rate": None,
        "decay_rate": 0.75,
        "decay_every": 5000,
        "batch_size": 1000,
        "batch_distances": "batch",
        "regularization_weight": 0.0,
        "reduction": "min",
        "max_enrolled_cosine": 0.3,
        "block_size": None,
        "seed": 0,
        "solver": 6,
    }
    nothing = np.zeros((0, 8), np.float32)
    expected = checkpoint.fingerprint(settings, ROWS, *3 * [nothing])
    config = PackingConfig(num_iterations=5, regularization_weight=0.0)
    given = Problem.beside(ROWS, None)
    assert packing._fingerprint(ROWS, given, config) == expected
    faster = dataclasses.replace(config, matmul_precision="tf32x3")
    assert packing._fingerprint(ROWS, given, faster) != expected


@pytest.mark.parametrize("precision", ["tf32x3", "bf16x3"])
def test_a_precision_that_the_device_lacks_is_refused(precision):
    config = PackingConfig(matmul_precision=precision)
    with pytest.raises(InputError, match=f"is {precision}, which this cpu can't"):
        pack_embeddings(ROWS, ROWS, config)


@pytest.mark.parametrize("method", ["annealed", "algorithm1", "algorithm2"])
def test_a_solver_is_traced_once_however_steps_are_dispatched(method, monkeypatch):
    solver = type(packing.SOLVERS[method])
    chex.clear_trace_counter()
    monkeypatch.setattr(solver, "step", chex.assert_max_traces(solver.step, n=1))
    counts = iter([1, 1, 2, 5, 3, 1])

    def span(self, done, config):
        return Span.of(done, next(counts), config.iterations - 1)

    monkeypatch.setattr("hyperface_jax.packing.clock.Clock.span", span)
    # Settings that no other test has compiled.
    config = PackingConfig(method=method, num_iterations=13, seed=713)
    result = pack_embeddings(ROWS, ROWS, config)
    assert len(result.history["objective"]) == 13


def test_checkpoints_of_other_runs_and_damaged_ones_are_refused(tmp_path):
    path = tmp_path / "checkpoint.npz"
    config = PackingConfig(num_iterations=5)
    pack_embeddings(ROWS, ROWS, config, checkpoint_path=path, checkpoint_seconds=0.0)
    content = path.read_bytes()
    for initial, changed in ((ROWS, 6), (ROWS[::-1], 5)):
        with pytest.raises(InputError, match="other settings or other input"):
            pack_embeddings(
                initial,
                ROWS,
                PackingConfig(num_iterations=changed),
                checkpoint_path=path,
            )
    for damaged in (content[: len(content) // 2], b"", b"not a checkpoint"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="not a readable checkpoint"):
            pack_embeddings(ROWS, ROWS, config, checkpoint_path=path)


@pytest.mark.parametrize(
    ("n", "d", "optimum"),
    # The second swings past its optimum, a simplex, before it comes to rest there.
    [(12, 3, 5**-0.5), (65, 64, -1 / 64)],
)
def test_it_stops_at_a_proven_optimum_and_says_so(n, d, optimum):
    rows = packing_oracles.random_rows(n, d)
    result = pack_embeddings(rows, None, PackingConfig(regularization_weight=0))
    assert result.stopped.startswith("optimal")
    assert len(result.history["objective"]) < 1000
    assert result.max_cosine == pytest.approx(optimum, abs=2e-6)


def test_it_stops_when_converged_and_says_so():
    result = pack_embeddings(ROWS, ROWS, PackingConfig(num_iterations=3000))
    assert result.stopped.startswith("converged")
    assert len(result.history["objective"]) < 3000


def test_it_stops_when_all_iterations_are_done():
    result = pack_embeddings(ROWS, ROWS, PackingConfig(num_iterations=4))
    assert result.stopped == "finished: all 4 iterations are done"


def test_a_time_limit_ends_it():
    config = PackingConfig(num_iterations=10**6, time_limit=1e-3)
    result = pack_embeddings(ROWS, ROWS, config)
    assert result.stopped == "time limit: 0.001 s are over after 1 iterations"


def at(monkeypatch, *times: float) -> clock.Clock:
    """A clock that reads these times, one after the other."""
    times = iter((0.0, *times))
    monkeypatch.setattr(clock, "time", types.SimpleNamespace(monotonic=times.__next__))
    return clock.Clock()


def test_what_is_affordable_is_what_there_is_time_for(monkeypatch):
    config = PackingConfig(num_iterations=50)
    limited = dataclasses.replace(config, time_limit=10.0)
    # Two seconds in, at half a second a step.
    watch = at(monkeypatch, 0.0, 1.5, 2.0, 6.0, 9.9)
    for done in (1, 2):
        watch.note(1, done)
    assert watch.span(3, config) == (3, 1, 49, np.inf)
    assert watch.span(3, limited) == (3, 1, 49, 15)
    for now, affordable in ((6.0, 7), (9.9, 0)):
        assert watch.read() == now
        assert watch.span(3, limited) == (3, 1, 49, affordable)


def test_the_first_dispatch_says_nothing_of_the_pace(monkeypatch):
    limited = PackingConfig(num_iterations=50, time_limit=10.0)
    watch = at(monkeypatch, 0.0, 8.0, 8.5, 8.7)
    for done, affordable in ((1, np.inf), (2, 2.0), (3, 1.3 / 0.35 - 1)):
        watch.note(1, done)
        assert watch.span(done, limited).affordable == pytest.approx(affordable)


def test_short_steps_are_dispatched_together(monkeypatch):
    """As many as take about 50 ms, by doubling, and no more than are left."""
    config = PackingConfig(num_iterations=10_000)
    watch = at(monkeypatch, *itertools.accumulate([0.0] + 12 * [0.004]))
    counts = []
    for _ in range(6):
        done = sum(counts)
        counts.append(int(watch.span(done, config).count))
        watch.note(counts[-1], sum(counts))
    # 4 ms a dispatch, whatever is in it: after compilation, twice as many each time.
    assert counts == [1, 1, 2, 4, 8, 16]
    assert watch.span(9_995, config).count == 5
    slow = at(monkeypatch, *itertools.accumulate([0.0, 1.0, 0.004, 0.06, 0.3]))
    counts = []
    for _ in range(5):
        counts.append(int(slow.span(sum(counts), config).count))
        if len(counts) < 5:
            slow.note(counts[-1], sum(counts))
    assert counts == [1, 1, 2, 1, 1]


def test_as_many_iterations_pack_as_well_by_time_as_by_number(monkeypatch):
    """By a clock that strikes every iteration, after a first one of half the time."""
    ticks = itertools.chain([0.0, 0.0], itertools.count(20.0))
    watch = types.SimpleNamespace(monotonic=lambda: next(ticks))
    monkeypatch.setattr(clock, "time", watch)
    rows = packing_oracles.random_rows(300, 16)
    by_time, by_number = (
        pack_embeddings(rows, rows, config)
        for config in (
            PackingConfig(num_iterations=5000, time_limit=40.0),
            PackingConfig(num_iterations=21),
        )
    )
    assert "after 21 iterations" in by_time.stopped
    assert by_time.objective == pytest.approx(by_number.objective, abs=0.01)
    assert by_number.objective < objective_at(rows) - 0.2


def objective_at(rows: np.ndarray) -> float:
    """The objective of rows that are their own gallery."""
    cosines = rows @ rows.T - 3 * np.eye(len(rows))
    return float(cosines.max()) - 1


def test_leaving_the_finite_numbers_is_said(monkeypatch):
    config = PackingConfig(method="algorithm1", learning_rate=1e9, num_iterations=9)
    huge = np.float32(3e38)
    monkeypatch.setattr(
        "hyperface_jax.packing.algorithm1.hypersphere.normalize_rows",
        lambda x: x * huge,
    )
    with pytest.raises(InputError, match="left the finite numbers at iteration"):
        pack_embeddings(ROWS[:7], ROWS, config)
