"""Many devices: the same results on 1, 2, 3 and 8, in one process and in two."""

import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from hyperface_jax import InputError, PackingConfig, load_embeddings, pack_embeddings
from tests.hyperface_jax import packing_oracles
from tests.hyperface_jax.devices import sharded_program as program

pytestmark = pytest.mark.slow
# Compiling takes most of the time of these tests; nothing they check depends on it.
FAST = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def environment(devices: int, folder: pathlib.Path) -> dict[str, str]:
    root = pathlib.Path(__file__).resolve().parents[3]
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(root),
        # Those of whoever runs the tests as another processor would come first.
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {FAST} "
        f"--xla_force_host_platform_device_count={devices}",
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the program of this test found on its eight devices."""
    folder = tmp_path_factory.mktemp("sharded")
    subprocess.run(
        [sys.executable, program.__file__, folder / "found.npz", folder],
        env=environment(8, folder),
        check=True,
        timeout=900,
    )
    with np.load(folder / "found.npz") as content:
        return dict(content)


def dense(queries, rows, exclude=None):
    """Largest cosine, its lowest row, and the second largest, in double precision."""
    c = queries.astype(float) @ rows.T.astype(float)
    if exclude is not None:
        c[np.arange(len(c)), exclude] = -4
    # float32 can't tell equal rows apart, and nor must this.
    row = np.argmax(np.round(c, 6), axis=1)
    return c[np.arange(len(c)), row], row, np.sort(c, axis=1)[:, -2]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("rows meet rows", (program.X, program.GALLERY)),
        ("few meet rows", (program.FEW, program.X)),
        ("rows meet others", (program.X, program.X, np.arange(45))),
        ("corners", (program.CORNERS, program.CORNERS, np.arange(70))),
        ("corners on 2", (program.CORNERS, program.CORNERS, np.arange(70))),
        ("corners on 3", (program.CORNERS, program.CORNERS, np.arange(70))),
    ],
)
def test_nearest_rows_are_those_of_brute_force(found, name, arguments):
    cosine, row, runner_up = dense(*arguments)
    np.testing.assert_array_equal(found[f"{name}/1"], row)
    np.testing.assert_allclose(found[f"{name}/0"], cosine, atol=1e-6)
    if "corners" not in name:
        np.testing.assert_allclose(found[f"{name}/2"], runner_up, atol=1e-6)


def test_search_equals_brute_force(found):
    c = program.GALLERY.astype(float) @ program.X.T.astype(float)
    rows = np.argsort(-np.round(c, 6), axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(found["search/1"], rows)
    expected = np.take_along_axis(c, rows, axis=1)
    np.testing.assert_allclose(found["search/0"], expected, atol=1e-6)


def test_repulsion_equals_the_dense_formula(found):
    x, fixed = program.X.astype(float), program.GALLERY.astype(float)
    c = x @ x.T
    w = np.exp((c - program.LEVEL[:, None]) / program.TEMPERATURE)
    np.fill_diagonal(w, 0)
    of_fixed = np.exp((x @ fixed.T - program.LEVEL[:, None]) / program.TEMPERATURE)
    np.fill_diagonal(c, -4)
    expected = (
        (w + w.T) @ x + of_fixed @ fixed,
        (w + w.T).sum(axis=1) + of_fixed.sum(axis=1),
        w.sum(axis=1) + of_fixed.sum(axis=1),
        np.maximum(c.max(axis=1), (x @ fixed.T).max(axis=1)),
    )
    for i, value in enumerate(expected):
        np.testing.assert_allclose(
            found[f"repulsion/{i}"], value, rtol=2e-5, atol=2e-5 * np.abs(value).max()
        )


def test_rows_are_taken_and_their_gradient_returned(found):
    np.testing.assert_array_equal(found["taken/0"], program.GALLERY[program.WANTED])
    np.testing.assert_array_equal(found["few taken/0"], program.X[program.WANTED[:2]])
    expected = packing_oracles.dense_gradient(
        program.X.astype(float), program.GALLERY.astype(float), 0.5, "mean_nearest"
    )
    # Of rows that are equal, the nearest other is either.
    single = np.setdiff1d(np.arange(45), [3, 30, 41])
    np.testing.assert_allclose(found["gradient/0"][single], expected[single], atol=1e-6)


def test_packing_does_not_depend_on_the_number_of_devices(found):
    """Forces are summed in another order, and a dozen steps magnify the rounding."""
    np.testing.assert_allclose(
        found["packed on 8"], found["packed on 1"], atol=program.TOLERANCE
    )


@pytest.mark.parametrize("method", ["algorithm1", "algorithm2"])
def test_the_papers_algorithms_keep_people_away_on_any_devices(found, method):
    single, spread = (found[f"{method} on {p}"] for p in (1, 8))
    np.testing.assert_allclose(spread, single, atol=program.TOLERANCE)
    before = (program.X @ program.FEW.T).max()
    assert (spread @ program.FEW.T).max() <= program.LIMIT + 1e-6 < before


def test_an_interrupted_packing_goes_on_to_the_same_bits(found):
    np.testing.assert_array_equal(found["went on"], found["packed on 8"])


def test_a_device_holds_and_sends_its_share_alone(found):
    n, d = program.STEP_SHAPE
    share = -(-n // 8) * d
    # Tiles of 16 rows round the share of 51 rows up to 64.
    assert share <= found["step/largest"] <= 64 * d
    # Gathered from all devices: numbers and a vector, no rows.
    assert found["step/gathered"] <= 2 * d
    # A hop hands on rows and forces; forces go home; the gallery goes around to be
    # searched and to be taken from. The rest is a number a row.
    assert 0 <= found["step/sent"] - (3 * 64 + 2 * 50) * d <= 8 * 64
    assert found["step/bytes"] <= 20 * 4 * share


@pytest.mark.parametrize("devices", [3, 8])
def test_every_tile_is_done_once_and_the_work_divided(found, devices):
    done = found[f"tiles on {devices}/0"]
    assert done.sum() == 5 * devices * (5 * devices + 1) / 2
    assert np.ptp(done) <= 1


# Of nobody, and of no use between processes of one run.
PROXY = "http://127.0.0.1:1"
PROXIES = dict.fromkeys(
    ("http_proxy", "HTTP_PROXY", "https_proxy", "grpc_proxy", "ALL_PROXY"), PROXY
)


def test_two_processes_pack_as_one_whatever_the_proxy(tmp_path):
    gallery = program.GALLERY
    np.savez(tmp_path / "gallery.npz", embeddings=gallery)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "hyperface_jax.cli.pack", "--num_iterations=6"),
        *("--gallery=gallery.npz", "--initial=gallery.npz", "--output=packed.npz"),
        *(f"--coordinator=localhost:{port}", "--num_processes=2", "--num_devices=2"),
    ]
    running = [
        subprocess.Popen(
            [*command, f"--process_id={i}"],
            cwd=tmp_path,
            env=environment(1, tmp_path) | PROXIES,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    said = [process.communicate(timeout=600)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert "packed.npz: 33 references" in said[0]
    assert "references" not in said[1]
    assert "proxy" not in "".join(said), "JAX has nothing to warn of"
    packed = load_embeddings(tmp_path / "packed.npz")
    config = PackingConfig(num_iterations=6)
    expected = pack_embeddings(gallery, gallery, config)
    np.testing.assert_allclose(
        packed.embeddings, expected.embeddings, atol=program.TOLERANCE
    )
    record = packed.metadata["packing"]
    assert record["objective"] == pytest.approx(expected.objective, abs=1e-4)
    assert "num_devices" not in record["inputs"]


def test_one_device_is_one_inside_of_more(found):
    assert found["one inside/0"] == 1


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(InputError, match="num_devices is 1000, but there are only"):
        pack_embeddings(program.X, program.GALLERY, num_devices=1000)
    with pytest.raises(InputError, match="num_devices is 0"):
        pack_embeddings(program.X, program.GALLERY, num_devices=0)
