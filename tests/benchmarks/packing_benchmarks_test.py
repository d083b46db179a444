"""The packing and search benchmarks: their figures are right, and they still run."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import (
    dense_algorithm1,
    device,
    packing_quality,
    packing_scaling,
    packing_step,
    search,
    spherical_codes,
    symmetric_starts,
    timing,
)
from hyperface_jax import InputError, PackingConfig, pack_embeddings
from tests.hyperface_jax import packing_oracles

SMALLEST = {
    device: ["--small", "--repeats=1"],
    packing_step: ["--n=60", "--d=8", "--repeats=1", "--steps=2", "--noapart"],
    packing_quality: [
        "--n=60",
        "--d=8",
        "--num_iterations=40",
        "--large_n=0",
    ],
    spherical_codes: ["--code=3x12", "--starts=2"],
    packing_scaling: ["--n=60", "--n=90", "--d=8", "--repeats=1", "--noapart"],
    search: [
        "--rows=200",
        "--queries=20",
        "--d=8",
        "--k=3",
        "--repeats=1",
        "--noapart",
    ],
}


INITIAL = packing_oracles.clustered_rows(40, 8)
GALLERY = packing_oracles.clustered_rows(30, 8, seed=1)


@pytest.fixture(scope="module")
def packed():
    """Three iterations of Algorithm 1, ours."""
    config = PackingConfig(method="algorithm1", num_iterations=3)
    return pack_embeddings(INITIAL, GALLERY, config)


def name_of(benchmark):
    return benchmark.__name__.split(".")[-1]


@pytest.mark.parametrize("benchmark", SMALLEST, ids=name_of)
def test_it_runs(benchmark, tmp_path, capsys):
    output = tmp_path / "record.json"
    flags = [*SMALLEST[benchmark], f"--output={output}"]
    if "work" in benchmark.FLAGS:
        flags.append(f"--work={tmp_path / 'work'}")
    benchmark.FLAGS(["benchmark", *flags])
    try:
        benchmark.main()
    finally:
        for name in benchmark.FLAGS:
            benchmark.FLAGS[name].unparse()
    record = json.loads(output.read_text())
    assert record["benchmark"] == name_of(benchmark)
    assert record["device"].startswith("cpu")
    assert record["created_with"]["settings"]["output"] == str(output)
    assert record["created_with"]["hardware"]["processor"]
    printed = capsys.readouterr().out
    assert record["device"] in printed
    for column in record["rows"][0]:
        assert column in printed
    assert "<svg" in output.with_suffix(".svg").read_text()
    assert min(Image.open(output.with_suffix(".png")).size) > 100


def test_a_finished_run_leaves_no_checkpoint_to_go_on_from(tmp_path):
    gallery = timing.power_law_gallery(60, 8, seed=1)
    config = PackingConfig(method="algorithm1", num_iterations=40, decay_every=2)
    path = tmp_path / "algorithm1_60_8_40.npz"
    pack_embeddings(
        gallery, gallery, config, checkpoint_path=path, checkpoint_seconds=0
    )
    assert path.exists()
    output = tmp_path / "record.json"
    flags = [*SMALLEST[packing_quality], f"--work={tmp_path}", f"--output={output}"]
    packing_quality.FLAGS(["benchmark", *flags])
    try:
        packing_quality.main()
    finally:
        for name in packing_quality.FLAGS:
            packing_quality.FLAGS[name].unparse()
    assert json.loads(output.read_text())["comparison"]["algorithm1_resumed"]
    assert not path.exists()


@pytest.mark.parametrize("dense", ["torch_steps", "jax_steps"])
def test_dense_contenders_take_the_steps_that_ours_takes(dense, packed):
    """Against the oracle of the packing tests, which is NumPy in double precision."""
    initial, gallery = INITIAL, GALLERY
    step = getattr(dense_algorithm1, dense)(initial, gallery)
    taken = [tuple(map(np.array, step())) for _ in range(3)]
    x, objectives = packing_oracles.dense_algorithm1(initial, gallery, iterations=3)
    np.testing.assert_allclose([value for value, _ in taken], objectives, atol=1e-6)
    np.testing.assert_allclose(taken[-1][1], x, atol=2e-5)
    np.testing.assert_allclose(packed.embeddings, taken[-1][1], atol=2e-5)


def test_searches_of_our_step():
    """A step that forgot the gallery is the same step."""
    taken = [
        make(60, 8) for make in (packing_step.ours, packing_step.ours_all_searched)
    ]
    for _ in range(3):
        (value, row), (same_value, same_row) = (step() for step in taken)
        np.testing.assert_array_equal(value, same_value)
        np.testing.assert_array_equal(row, same_row)


def test_peak_memory_of_a_process_of_its_own():
    quiet = timing.time_apart(holding, 1, repeats=1)
    busy = timing.time_apart(holding, 300, repeats=1)
    assert busy.result == 300 * 2**20
    assert 280 < busy.peak_megabytes - quiet.peak_megabytes < 320
    assert len(busy.each_seconds) == 1


def holding(megabytes: int) -> timing.Call:
    """A call that holds so much memory for a moment."""
    return lambda: np.ones(megabytes * 2**20, np.uint8).sum(dtype=np.int64)


def test_calls_stop_in_time():
    timed = timing.time_calls(lambda: lambda: 1, repeats=5, max_seconds=0)
    assert len(timed.each_seconds) == 1
    assert len(timing.time_calls(lambda: lambda: 1, repeats=5).each_seconds) == 5


def test_disagreements_of_a_search():
    rows = np.array([[4, 2, 9]])
    cosines = np.array([[0.9, 0.7, 0.5]])

    def count(other_cosines, other_rows):
        other = np.array([other_cosines]), np.array([other_rows])
        return search.disagreements(other, (cosines, rows), 1e-5)

    assert count([0.9, 0.7, 0.5], [4, 2, 9]) == 0
    assert count([0.9, 0.7, 0.5], [2, 4, 9]) == 2
    assert count([0.9, 0.8, 0.5], [4, 2, 9]) == 1
    # Of rows at equal cosine, any order; of the last, others may be as near.
    assert count([0.9, 0.7, 0.5], [4, 2, 8]) == 0
    cosines = np.array([[0.9, 0.7, 0.7]])
    assert count([0.9, 0.7, 0.7], [4, 9, 2]) == 0


def test_exponents():
    n = [100, 5000, 10_000, 20_000]
    assert packing_scaling.exponent(n, [9, 25, 100, 400]) == pytest.approx(2)
    assert packing_scaling.exponent([10, 20], [3.0, 6.0]) == pytest.approx(1)
    assert packing_scaling.exponent([10], [3.0]) is None


def test_when_an_objective_was_reached(packed):
    found = packing_quality.Run(
        packed, np.array([2.0, 3, 4, 5]), np.array([-0.1, -0.3, -0.2, -0.4])
    )
    assert found.seconds_to(-0.2) == 3
    assert found.seconds_to(-0.5) is None
    assert found.objective_at(4.5) == -0.2
    assert found.objective_at(1) is None
    theirs = packing_quality.Run(
        packed._replace(objective=-0.3), np.array([400.0, 600]), np.array([0.0, -0.3])
    )
    comparison = packing_quality.compare(found, theirs)
    assert comparison["times_faster"] == 200
    assert comparison["times_faster_after_compiling"] == 600
    assert comparison["algorithm1_objective_then"] is None


@pytest.mark.parametrize("code", ["3x13", "3", "x5", "1x2", "3x1", "3x-2"])
def test_codes_that_are_refused(code):
    with pytest.raises(InputError, match=f"--code={code}"):
        spherical_codes.optimum(*spherical_codes.parse(code))


def test_optima_are_not_below_any_bound():
    from hyperface_jax import max_cosine_bound

    for d, n in [*spherical_codes.OPTIMA, (512, 513), (512, 1000)]:
        bound = max_cosine_bound(n, d)
        assert bound <= spherical_codes.optimum(d, n) + 1e-9
    # Sharp codes attain Levenshtein's bound.
    for d, n in [(6, 27), (7, 56), (8, 240), (22, 275), (512, 513), (512, 1000)]:
        bound = max_cosine_bound(n, d)
        assert spherical_codes.optimum(d, n) == pytest.approx(bound, abs=1e-6)


@pytest.mark.parametrize(("d", "n"), spherical_codes.SYMMETRIES)
def test_symmetric_starts_are_symmetric(d, n):
    symmetry = spherical_codes.SYMMETRIES[d, n]
    p, power, multipliers, _, antipodal = symmetry
    x = symmetric_starts.sample(symmetry, n, d, seed=1).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)
    half = n // 2 if antipodal else n
    np.testing.assert_array_equal(x[half:], -x[: n - half])
    # A shift by 1 takes each point to the next of p, and leaves what is over alone.
    cosines, shifted = x[:half] @ x[:half].T, np.arange(half)
    small = p**power
    turning = shifted[: half // small * small].reshape(-1, p)
    turning[:] = np.roll(turning, 1, axis=1)
    np.testing.assert_allclose(cosines[np.ix_(shifted, shifted)], cosines, atol=1e-6)
    # All images of a point see the same cosines.
    last = half // small * small
    large = small * multipliers if small * multipliers <= half else small
    for images in (slice(large), slice(last - small, last)):
        seen = np.sort(cosines[images], axis=1)
        np.testing.assert_allclose(seen, seen[:1].repeat(len(seen), 0), atol=1e-6)
    assert abs(np.sort(cosines[0]) - np.sort(cosines[large])).max() > 0.01


@pytest.mark.parametrize(("d", "n", "seed"), [(21, 162, 0), (22, 100, 1)])
def test_codes_that_only_symmetric_starts_lead_to(d, n, seed):
    symmetry = spherical_codes.SYMMETRIES[d, n]
    start = symmetric_starts.sample(symmetry, n, d, seed)
    found = pack_embeddings(start, None, PackingConfig(regularization_weight=0))
    assert found.max_cosine <= spherical_codes.optimum(d, n) + 1e-4


def test_power_law_gallery_is_uneven_and_reproducible():
    rows = timing.power_law_gallery(4000, 64)
    np.testing.assert_array_equal(rows, timing.power_law_gallery(4000, 64))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    variances = np.linalg.eigvalsh(np.cov(rows.T))
    ratio = variances.sum() ** 2 / (variances**2).sum()
    assert ratio == pytest.approx(0.4 * 64, rel=0.2)
