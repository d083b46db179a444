"""Stopping, checkpoints, resuming to the same bits."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import packing_oracles
import pytest

from hyperface_jax import InputError, PackingConfig, descent, pack_embeddings

ROWS = packing_oracles.clustered_rows(24, 8)


def interrupt_at(iteration: int):
    def on_progress(done, terms):
        if done >= iteration:
            os.kill(os.getpid(), signal.SIGINT)

    return on_progress


@pytest.mark.parametrize("method", ["annealed", "algorithm1", "algorithm2"])
def test_an_interrupted_descent_goes_on_to_the_same_bits(method, tmp_path, monkeypatch):
    monkeypatch.setattr("hyperface_jax.descent._SECONDS_BETWEEN_REPORTS", -1)
    config = PackingConfig(
        method=method, num_iterations=30, decay_every=7, batch_size=10
    )
    whole = pack_embeddings(ROWS, ROWS, config)
    path = tmp_path / "checkpoint.npz"
    for stop in (1, 11, 12):
        with pytest.raises(KeyboardInterrupt):
            pack_embeddings(
                ROWS,
                ROWS,
                config,
                checkpoint_path=path,
                on_progress=interrupt_at(stop),
            )
    resumed = pack_embeddings(ROWS, ROWS, config, checkpoint_path=path)
    np.testing.assert_array_equal(resumed.embeddings, whole.embeddings)
    for name, values in whole.history.items():
        np.testing.assert_array_equal(resumed.history[name], values)


def test_a_kill_loses_no_more_than_the_time_between_checkpoints(tmp_path, root):
    """kill -9 at whatever point, three times; the result is that of one run."""
    script = textwrap.dedent(
        """
        import sys
        import numpy as np
        sys.path.insert(0, sys.argv[3])
        import packing_oracles
        from hyperface_jax import PackingConfig, pack_embeddings
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
    assert path.exists()
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    config = PackingConfig(method="algorithm1", num_iterations=1000)
    whole = pack_embeddings(ROWS, ROWS, config)
    np.testing.assert_array_equal(np.load(output), whole.embeddings)


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


def test_it_stops_at_a_proven_optimum_and_says_so():
    rows = packing_oracles.random_rows(12, 3)
    result = pack_embeddings(rows, None, PackingConfig(regularization_weight=0))
    assert result.stopped.startswith("optimal")
    assert len(result.history["objective"]) < 1000
    assert result.max_cosine == pytest.approx(5**-0.5, abs=3e-6)


def test_it_stops_when_converged_and_says_so():
    result = pack_embeddings(ROWS, ROWS, PackingConfig(num_iterations=3000))
    assert result.stopped.startswith("converged")
    assert len(result.history["objective"]) < 3000


def test_it_stops_when_all_iterations_are_done():
    result = pack_embeddings(ROWS, ROWS, PackingConfig(num_iterations=4))
    assert result.stopped == "finished: all 4 iterations are done"


def test_a_time_limit_ends_it_with_the_temperatures_cooled():
    config = PackingConfig(num_iterations=10**6, time_limit=1e-3)
    result = pack_embeddings(ROWS, ROWS, config)
    assert result.stopped == "time limit: 0.001 s are over after 1 iterations"
    early, late = (descent._moment(3, seconds, config) for seconds in (0.0005, 1.0))
    assert early.fraction == pytest.approx(0.5)
    assert late.fraction == 1.0


def test_leaving_the_finite_numbers_is_said(monkeypatch):
    config = PackingConfig(method="algorithm1", learning_rate=1e9, num_iterations=9)
    huge = np.float32(3e38)
    monkeypatch.setattr(
        "hyperface_jax.algorithm1.hypersphere.normalize_rows", lambda x: x * huge
    )
    with pytest.raises(InputError, match="left the finite numbers at iteration"):
        pack_embeddings(ROWS[:7], ROWS, config)
