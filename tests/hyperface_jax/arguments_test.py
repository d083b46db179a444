"""Arguments of every public function: refused by name where they enter, in one line."""

import decimal
import fractions
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hyperface_jax
from hyperface_jax import (
    EmbeddingIndex,
    InputError,
    PackingConfig,
    calibrate_threshold,
    capacity_bound,
    check_embeddings,
    check_model,
    load_embeddings,
    max_cosine_bound,
    measure_capacity,
    measure_spread,
    objective_bound,
    open_npz,
    pack_embeddings,
    packing_objective,
    packing_record,
    save_embeddings,
    separation_statistics,
    typical_cosine,
    worst_case_cosine,
)
from hyperface_jax.packing.initialization import from_gallery
from tests.hyperface_jax import packing_oracles

X = packing_oracles.random_rows(6, 4)
LABELS = [0, 0, 1, 1, 2, 2]
CONFIG = PackingConfig(num_iterations=1)
MODEL = {"name": "f", "sha256": "a"}
INDEX = EmbeddingIndex(X)


class Unwilling:
    """What fails at whatever is asked of it, as arrays on another device do."""

    def __array__(self, *_, **__):
        raise RuntimeError("is on another device")

    def __repr__(self):
        raise RuntimeError("no text either")


NO_ROWS = {
    "None": None,
    "a path": "rows.npy",
    "a number": 3,
    "a bool": True,
    "nothing": [],
    "one row": X[0],
    "a stack": X[None],
    "integers": X.astype(int),
    "complex": X.astype(complex),
    "objects": X.astype(object),
    "strings": X.astype(str),
    "times": np.zeros((6, 4), "M8[s]"),
    "records": np.zeros(6, [("a", "f4")]),
    "ragged": [[1.0, 0.0], [1.0]],
    "no rows": X[:0],
    "no columns": X[:, :0],
    "NaN": X * np.nan,
    "huge": np.full((6, 4), 1e300),
    "zeros": 0 * X,
    "a set": {1, 2},
    "a dictionary": {"embeddings": X},
    "unwilling": Unwilling(),
    "JAX integers": jnp.ones((6, 4), int),
}
ROWS = {
    "pack initial": lambda v: pack_embeddings(v, X, CONFIG),
    "pack gallery": lambda v: pack_embeddings(X, [] if v is None else v, CONFIG),
    "pack fixed": lambda v: pack_embeddings(X, X, CONFIG, fixed="" if v is None else v),
    "pack enrolled": lambda v: pack_embeddings(
        X, X, CONFIG, enrolled="" if v is None else v
    ),
    "index": EmbeddingIndex,
    "search": INDEX.search,
    "range search": lambda v: INDEX.range_search(v, 0.5),
    "capacity": lambda v: measure_capacity(v, 0.5),
    "spread": lambda v: measure_spread(v, LABELS),
    "separation": separation_statistics,
    "calibration": lambda v: calibrate_threshold(v, LABELS, 0.5),
    "objective": lambda v: packing_objective(v, X),
    "objective gallery": lambda v: packing_objective(X, v),
    "bound": lambda v: objective_bound(v, X),
    "bound gallery": lambda v: objective_bound(X, v),
    "check": lambda v: check_embeddings(v, "rows"),
    "save": lambda v: save_embeddings("never.npz", v, kind="gallery"),
}


@pytest.mark.parametrize("kind", NO_ROWS)
@pytest.mark.parametrize("function", ROWS)
def test_what_is_no_rows(function, kind):
    with pytest.raises(InputError) as refusal:
        ROWS[function](NO_ROWS[kind])
    assert "\n" not in str(refusal.value)


NO_NUMBERS = [
    "3",
    b"3",
    math.nan,
    math.inf,
    -math.inf,
    True,
    np.True_,
    1j,
    [1],
    np.ones(2),
    np.array(1.0),
    decimal.Decimal("0.5"),
    fractions.Fraction(1, 2),
    {},
    10**400,
    -(10**5000),
    Unwilling(),
]
NUMBERS = {
    "n": lambda v: max_cosine_bound(v, 3),
    "d": lambda v: max_cosine_bound(30, v),
    "max_cosine": lambda v: capacity_bound(v, 5),
    "threshold": lambda v: typical_cosine(v, 30, 8),
    "spread": lambda v: worst_case_cosine(0.3, v),
    "false_match_rate": lambda v: typical_cosine(0.3, 30, 8, false_match_rate=v),
    "false_match_rate ": lambda v: calibrate_threshold(X, LABELS, v),
    "k": lambda v: INDEX.search(X, v),
    "min_cosine": INDEX.duplicates,
    "quantile": lambda v: measure_spread(X, LABELS, quantile=v),
    "max_reference_cosine": lambda v: measure_capacity(X, v),
    "min_gallery_cosine": lambda v: measure_capacity(X, 0.5, min_gallery_cosine=v),
    "max_identities": lambda v: measure_capacity(X, 0.5, max_identities=v),
    "num_devices": lambda v: pack_embeddings(X, X, CONFIG, num_devices=v),
    "num_identities": lambda v: from_gallery(X, None, v, 0),
    "regularization_weight": lambda v: packing_objective(X, X, regularization_weight=v),
    **{
        name: lambda v, name=name: PackingConfig(**{name: v})
        for name in ("time_limit", "tolerance", "decay_every", "batch_size", "seed")
    },
}


@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_refused_by_name(name):
    for value in NO_NUMBERS:
        with pytest.raises(InputError, match=f"^{name.strip()} is ") as refusal:
            NUMBERS[name](value)
        assert "\n" not in str(refusal.value)
        assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    "take",
    [
        lambda v: EmbeddingIndex(X, block_size=v),
        lambda v: separation_statistics(X, block_size=v),
        lambda v: objective_bound(X, X, block_size=v),
        lambda v: packing_objective(X, X, block_size=v),
        lambda v: PackingConfig(block_size=v),
    ],
)
def test_block_sizes(take):
    for value in [0, 2.0, 2**31, *NO_NUMBERS]:
        with pytest.raises(InputError, match=r"^block_size is "):
            take(value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pack_embeddings(X, X, {"seed": 1}), "config is {'seed': 1}, must be"),
        (lambda: measure_capacity(X, 0.5, "fast"), "config is 'fast', must be a Pack"),
        (lambda: pack_embeddings(X, X, on_progress=3), "on_progress is 3, must be a f"),
        (lambda: measure_capacity(X, 0.5, on_trial=3), "on_trial is 3, must be a func"),
        (lambda: pack_embeddings(X, X, checkpoint_path=3), "path is 3, must name"),
        (
            lambda: pack_embeddings(X, X, checkpoint_seconds=math.nan),
            "checkpoint_seconds is nan",
        ),
        (lambda: separation_statistics(X, unit_centres="no"), "unit_centres is 'no'"),
        (lambda: packing_objective(X, X, reduction=None), "reduction is None"),
        (lambda: packing_objective(X, X[:, :3]), "gallery: row|x and gallery have 4"),
        (lambda: packing_record({}, X, X), "result is {}, must be a PackingResult"),
        (lambda: save_embeddings("a.npz", X, kind=np.ones(2)), "a.npz: kind array"),
        (lambda: save_embeddings(None, X, kind="gallery"), "path is None, must name a"),
        (lambda: open_npz(None).__enter__(), "path is None, must name a"),
        (lambda: load_embeddings("a.npz", kind=3), "a.npz: kind 3 is not one of"),
        (lambda: load_embeddings("a.npz", model="f"), "model 'f' is not a JSON object"),
        (lambda: check_model({"name": "f"}, MODEL, "a"), "a: model .* has no sha256"),
        (lambda: check_model(MODEL, np.ones(2), "a"), "the model needed array"),
        (lambda: PackingConfig(decay_every=None), "decay_every is None"),
    ],
)
def test_other_arguments(call, message):
    with pytest.raises(InputError, match=f"^{message}"):
        call()


def test_the_record_is_of_the_rows_of_the_result():
    result = pack_embeddings(X, X, CONFIG)
    for arguments, message in (
        ((X[:5], X), r"initial has shape \(5, 4\), expected that of the result"),
        ((X, np.eye(3)), "result and gallery have 4 and 3 columns"),
        ((X, X, np.eye(3)), "result and fixed have 4 and 3 columns"),
        ((X, 2 * X), "gallery: row 0 is not of unit length"),
    ):
        with pytest.raises(InputError, match=message):
            packing_record(result, *arguments)


def test_traced_arrays_are_checked_by_shape_alone():
    compiled = jax.jit(packing_objective)
    assert np.isfinite(compiled(jnp.asarray(X), jnp.asarray(X)).objective)
    for x, gallery in ((X[0], X), (X.astype(int), X), (X, X[:, :3]), (X[:1], X)):
        with pytest.raises(InputError):
            compiled(jnp.asarray(x), jnp.asarray(gallery))


def test_bounds_end_for_any_numbers():
    assert max_cosine_bound(10**15, 10**15) == pytest.approx(-1e-15)
    assert max_cosine_bound(10**15, 8) < 1
    assert capacity_bound(-1e-320, 5) == 6
    assert capacity_bound(-1, 10**15) == 2


def test_every_public_function_is_among_these():
    """A new one has its arguments checked as well."""
    functions = {
        name
        for name in hyperface_jax.__all__
        if callable(getattr(hyperface_jax, name)) and name.islower()
    }
    named = {name for name in globals() if name in functions}
    assert named == functions
