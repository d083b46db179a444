"""The embedding file: what is written is read, and everything else is refused."""

import json
import math

import numpy as np
import pytest

from hyperface_jax import InputError, load_embeddings, save_embeddings
from hyperface_jax.embeddings.embedding_file import FORMAT_VERSION, KINDS
from hyperface_jax.embeddings.rows import NORM_TOLERANCE

MODEL = {"name": "recogniser_f", "sha256": "a" * 64}
OTHER_MODEL = {"name": "arcface", "sha256": "b" * 64}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gallery.npz"


def write(path, **arrays):
    """Writes an ``.npz`` as another program would: without our checks."""
    np.savez(path, **arrays)
    return path


def test_everything_written_is_read(path, unit_rows):
    labels = np.arange(20) // 2
    names = np.array([f"images/{row}.jpg" for row in range(20)])
    save_embeddings(
        path,
        unit_rows,
        kind="references",
        labels=labels,
        names=names,
        model=MODEL,
        packing={"objective": -0.9, "iterations": 3},
        settings={"seed": 1},
    )
    read = load_embeddings(path, kind="references", model=MODEL)
    np.testing.assert_array_equal(read.embeddings, unit_rows)
    np.testing.assert_array_equal(read.labels, labels)
    np.testing.assert_array_equal(read.names, names)
    assert read.embeddings.dtype == np.float32 and read.labels.dtype == np.int64
    assert read.metadata["format_version"] == FORMAT_VERSION
    assert read.metadata["model"] == MODEL
    assert read.metadata["packing"] == {"objective": -0.9, "iterations": 3}
    assert read.metadata["created_with"]["settings"] == {"seed": 1}


def test_groups_are_kept_by_attribute(path, unit_rows):
    groups = {"gender": ["female", "male"] * 10, "country": ["x"] * 20}
    save_embeddings(path, unit_rows, kind="gallery", groups=groups)
    read = load_embeddings(path).groups
    assert {name: values.tolist() for name, values in read.items()} == groups
    write(path, embeddings=unit_rows, group_gender=np.arange(20))
    with pytest.raises(InputError, match="group_gender is int64"):
        load_embeddings(path)
    write(path, embeddings=unit_rows)
    assert load_embeddings(path).groups == {}


def test_names_as_labels_are_kept(path, unit_rows):
    people = ["bob", "ann"] * 10
    save_embeddings(path, unit_rows, kind="gallery", labels=people)
    read = load_embeddings(path)
    assert read.identities.tolist() == ["ann", "bob"]
    assert read.identities[read.labels].tolist() == people
    # Another program writes them as they are.
    write(path, embeddings=unit_rows, labels=np.array(people))
    np.testing.assert_array_equal(load_embeddings(path).labels, read.labels)
    assert load_embeddings(path).identities.tolist() == ["ann", "bob"]
    write(path, embeddings=unit_rows, labels=np.arange(20.0))
    assert load_embeddings(path).labels.dtype == np.int64


def test_without_names_files_are_as_before(path, unit_rows):
    save_embeddings(path, unit_rows, kind="gallery", labels=np.arange(20))
    with np.load(path) as content:
        assert content.files == ["embeddings", "labels", "metadata"]
    assert load_embeddings(path).identities is None


def test_what_is_no_embeddings_is_not_read(path, unit_rows):
    write(path, embeddings=unit_rows, notes=np.array([object()], dtype=object))
    np.testing.assert_array_equal(load_embeddings(path).embeddings, unit_rows)


def test_numpys_values_are_written_as_pythons(path, unit_rows):
    packing = {"a": np.float32(0.5), "b": np.arange(2), "c": (np.bool(True), None)}
    save_embeddings(path, unit_rows, kind="references", packing=packing)
    expected = {"a": 0.5, "b": [0, 1], "c": [True, None]}
    assert load_embeddings(path).metadata["packing"] == expected


def test_labels_and_names_are_optional(path, unit_rows):
    save_embeddings(path, unit_rows, kind="gallery")
    read = load_embeddings(path)
    assert read.labels is None and read.names is None
    assert read.metadata["model"] is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_refused(path, unit_rows, kind):
    save_embeddings(path, unit_rows, kind=kind)
    assert load_embeddings(path, kind=kind).metadata["kind"] == kind
    other = next(name for name in KINDS if name != kind)
    with pytest.raises(InputError, match=f"holds {kind}, expected {other}"):
        load_embeddings(path, kind=other)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
def test_any_float_dtype_is_read_as_float32(path, unit_rows, dtype):
    write(path, embeddings=unit_rows.astype(dtype))
    read = load_embeddings(path).embeddings
    assert read.dtype == np.float32 and read.flags.c_contiguous
    np.testing.assert_allclose(read, unit_rows, atol=1e-3)


def test_a_plain_npz_of_another_program_is_read(path, unit_rows):
    assert load_embeddings(write(path, embeddings=unit_rows)).metadata == {}


def with_row(unit_rows, row, value):
    changed = unit_rows.copy()
    changed[row] = value
    return changed


REFUSED = {
    "missing key": (
        lambda rows: {"vectors": rows},
        r"no key 'embeddings' \(found vectors\)",
    ),
    "one row as a vector": (
        lambda rows: {"embeddings": rows[0]},
        r"shape \(8,\), expected \[n, d\]",
    ),
    "images": (
        lambda rows: {"embeddings": rows.reshape(2, 10, 8)},
        r"shape \(2, 10, 8\), expected \[n, d\]",
    ),
    "integers": (
        lambda rows: {"embeddings": (rows * 100).astype(np.int32)},
        "int32, expected float32; convert with",
    ),
    "complex numbers": (
        lambda rows: {"embeddings": rows.astype(np.complex64)},
        "complex64, expected float32",
    ),
    "no rows": (lambda rows: {"embeddings": rows[:0]}, "empty"),
    "no columns": (lambda rows: {"embeddings": rows[:, :0]}, "empty"),
    "NaN": (
        lambda rows: {"embeddings": with_row(rows, 7, np.nan)},
        "row 7 is not finite",
    ),
    "infinity": (
        lambda rows: {"embeddings": with_row(rows, 3, np.inf)},
        "row 3 is not finite",
    ),
    "a zero row": (
        lambda rows: {"embeddings": with_row(rows, 5, 0)},
        "row 5 is zero",
    ),
    "rows that are not unit": (
        lambda rows: {"embeddings": rows * 2},
        r"row 0 is not of unit length.*and 19 more.*divide each row by its norm",
    ),
    "too few labels": (
        lambda rows: {"embeddings": rows, "labels": np.arange(19)},
        r"labels have shape \(19,\), expected \(20,\)",
    ),
    "labels that are not whole": (
        lambda rows: {"embeddings": rows, "labels": np.arange(20) / 2},
        "labels: row 1 is 0.5, expected a whole number or a name",
    ),
    "identities that are no names": (
        lambda rows: {
            "embeddings": rows,
            "labels": np.arange(20),
            "identities": np.arange(20),
        },
        r"identities is int64 \(20,\), expected str \[k\]",
    ),
    "too few identities": (
        lambda rows: {
            "embeddings": rows,
            "labels": np.arange(20),
            "identities": np.array(["ann", "bob"]),
        },
        "row 2 has the label 2, but there are only 2 identities",
    ),
    "names that are not strings": (
        lambda rows: {"embeddings": rows, "names": np.arange(20)},
        "names is int64",
    ),
    "metadata that is not JSON": (
        lambda rows: {"embeddings": rows, "metadata": np.asarray("{")},
        "metadata is not JSON",
    ),
    "metadata that is no record": (
        lambda rows: {"embeddings": rows, "metadata": np.asarray("[]")},
        r"metadata is \[\], expected a JSON object",
    ),
    "metadata nested too deeply": (
        lambda rows: {"embeddings": rows, "metadata": np.asarray("[" * 100_000)},
        "metadata is not JSON",
    ),
    "metadata that is no text": (
        lambda rows: {"embeddings": rows, "metadata": np.arange(3)},
        r"metadata is int64 \(3,\), expected one text",
    ),
    "a model without a hash": (
        lambda rows: {
            "embeddings": rows,
            "metadata": np.asarray('{"model": {"name": "f"}}'),
        },
        "has no sha256",
    ),
    "a packing that is no record": (
        lambda rows: {"embeddings": rows, "metadata": np.asarray('{"packing": [1]}')},
        r"packing is \[1\], expected a dictionary",
    ),
    "a model that is no record": (
        lambda rows: {"embeddings": rows, "metadata": np.asarray('{"model": "f"}')},
        "model 'f' is not a JSON object",
    ),
    "a format version that is no number": (
        lambda rows: {
            "embeddings": rows,
            "metadata": np.asarray(json.dumps({"format_version": "1"})),
        },
        "format_version '1' is not a whole number",
    ),
    "numbers beyond float32": (
        lambda rows: {"embeddings": rows.astype(np.float64) * 1e300},
        "row 0 is not finite",
    ),
    "a format of the future": (
        lambda rows: {
            "embeddings": rows,
            "metadata": np.asarray(json.dumps({"format_version": 99})),
        },
        "format version 99.*update hyperface_jax",
    ),
    "pickled objects": (
        lambda rows: {"embeddings": np.array([object()], dtype=object)},
        "pickled objects, which are never loaded",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unfit_content_is_refused(path, unit_rows, case):
    arrays, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as refusal:
        load_embeddings(write(path, **arrays(unit_rows)))
    assert str(path) in str(refusal.value), "the message names the file"


def test_no_such_file_is_refused(path):
    with pytest.raises(InputError, match="no such file"):
        load_embeddings(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        load_embeddings(tmp_path)


def test_a_bare_npy_array_is_refused(tmp_path, unit_rows):
    np.save(tmp_path / "gallery.npy", unit_rows)
    with pytest.raises(InputError, match=r"bare \.npy"):
        load_embeddings(tmp_path / "gallery.npy")


@pytest.mark.parametrize("size", [0, 1, 100, 400])
def test_a_truncated_file_is_refused(path, unit_rows, size):
    save_embeddings(path, unit_rows, kind="gallery")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match=r"not a readable \.npz"):
        load_embeddings(path)


def test_a_damaged_file_is_never_misread(path, unit_rows):
    # Every seventh byte inverted in turn: refused, or the byte carried no content.
    np.savez_compressed(path, embeddings=np.tile(unit_rows, (4, 1)))
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            read = load_embeddings(path).embeddings
        except (InputError, OSError):
            continue
        np.testing.assert_array_equal(read, np.tile(unit_rows, (4, 1)))


def test_embeddings_of_another_recogniser_are_refused(path, unit_rows):
    save_embeddings(path, unit_rows, kind="gallery", model=MODEL)
    with pytest.raises(InputError, match=r"of model recogniser_f.*needed arcface"):
        load_embeddings(path, model=OTHER_MODEL)


def test_the_norm_tolerance_is_where_it_says(path, unit_rows):
    inside, outside = 1 + 0.9 * NORM_TOLERANCE, 1 + 1.1 * NORM_TOLERANCE
    load_embeddings(write(path, embeddings=unit_rows * np.float32(inside)))
    with pytest.raises(InputError, match="unit length"):
        load_embeddings(write(path, embeddings=unit_rows * np.float32(outside)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "probes"}, "'probes' is not one of gallery, references, queries"),
        ({"labels": np.arange(3)}, r"labels have shape \(3,\)"),
        ({"names": ["a"]}, "names has 1 entries"),
        ({"names": np.arange(20)}, "names: entry 0 is 0, expected a string"),
        ({"names": ["a"] * 19 + [None]}, "names: entry 19 is None, expected a string"),
        ({"groups": {"sex": ["f"] * 3}}, "group_sex has 3 entries"),
        ({"groups": {3: ["f"] * 20}}, "3 can't be an attribute's name"),
        ({"groups": ["f"] * 20}, "groups are .*, expected strings by attribute"),
        ({"labels": [True] * 20}, "labels: row 0 is True"),
        ({"model": "arcface"}, "model 'arcface' is not a JSON object"),
        ({"model": {"name": "arcface"}}, "has no sha256"),
        ({"packing": {"gap": math.nan}}, r"packing\['gap'\] is nan, which JSON"),
        ({"packing": {"h": [1, np.array([np.inf])]}}, r"\['h'\]\[1\]\[0\] is inf"),
        ({"packing": {1: 2}}, "packing: the key 1 is not a string"),
        ({"packing": [1]}, r"packing is \[1\], expected a dictionary"),
        ({"settings": {"path": object()}}, r"settings\['path'\] is <object"),
        ({"settings": {"when": np.datetime64("now")}}, "which JSON can't hold"),
    ],
)
def test_unfit_content_is_not_written(path, unit_rows, arguments, message):
    with pytest.raises(InputError, match=message):
        save_embeddings(path, unit_rows, **{"kind": "gallery"} | arguments)
    assert list(path.parent.iterdir()) == [], "nothing was touched"


def test_rows_that_are_not_unit_are_not_written(path, unit_rows):
    with pytest.raises(InputError, match="unit length"):
        save_embeddings(path, unit_rows * 3, kind="gallery")
    assert list(path.parent.iterdir()) == []
