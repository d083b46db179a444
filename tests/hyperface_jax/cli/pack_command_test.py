"""hyperface-pack: files in, files out, refusals in one line."""

import errno
import os
import pathlib
import re

import numpy as np
import pytest

from hyperface_jax import (
    PackingConfig,
    load_embeddings,
    locks,
    pack_embeddings,
    save_embeddings,
)
from hyperface_jax.cli import pack

MODEL = {"name": "tiny", "sha256": "0" * 64}


def test_writes_references_with_their_record(call, gallery, tmp_path):
    output = tmp_path / "references.npz"
    settings = {"gallery": gallery, "output": output, "num_iterations": 100}
    code, printed, _ = call(pack, **settings, regularization_weight=0.7, seed=3)
    assert code == 0
    assert "10 references" in printed
    found = load_embeddings(output, kind="references", model=MODEL)
    assert found.embeddings.shape == (10, 8)
    assert found.labels.tolist() == list(range(10))
    assert len({name[6:-4] for name in found.names}) == 10
    record = found.metadata["packing"]
    x = found.embeddings.astype(float)
    cosine = x @ x.T - 3 * np.eye(10)
    assert record["max_cosine"] == pytest.approx(cosine.max(), abs=1e-6)
    assert record["objective"] < record["initial"]["objective"]
    assert record["regularization_weight"] == 0.7
    assert record["seed"] == 3
    assert record["learning_rate"] == 2.0
    assert len(record["history"]["objective"]) == 100
    histogram = record["nearest_cosine_histogram"]
    assert sum(histogram["before"]) == sum(histogram["after"]) == 10
    assert len(histogram["edges"]) == len(histogram["after"]) + 1


def test_a_packing_is_proven_near_its_optimum(call, tmp_path):
    rows = np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gallery, output = tmp_path / "gallery.npz", tmp_path / "references.npz"
    save_embeddings(gallery, rows, kind="gallery", model=MODEL)
    settings = {"gallery": gallery, "output": output, "num_iterations": 1000}
    code, printed, _ = call(pack, **settings, prove=True)
    assert code == 0
    assert "proven: no objective below" in printed
    record = load_embeddings(output).metadata["packing"]
    proven = record["objective_bound"]
    assert 0 < record["objective"] - proven["bound"] < 1e-3
    assert proven["curvature"] > 0


@pytest.mark.parametrize(
    "name, value",
    [
        ("reduction", "mean_nearest"),
        ("regularization_weight", 0),
        ("num_devices", 2),
        ("coordinator", "localhost:9876"),
    ],
)
def test_what_can_not_be_proven_is_refused(call, gallery, tmp_path, name, value):
    output = tmp_path / "references.npz"
    settings = {"gallery": gallery, "output": output, name: value}
    code, _, error = call(pack, **settings, prove=True)
    assert code != 0
    assert f"no bound for this --{name}" in error
    assert not output.exists()


def test_every_setting_reaches_the_packing(call, gallery, tmp_path):
    changed = {
        "method": "algorithm1",
        "num_iterations": 7,
        "learning_rate": 0.02,
        "decay_rate": 0.5,
        "decay_every": 3,
        "regularization_weight": 0.25,
        "reduction": "mean_nearest",
        "batch_size": 5,
        "batch_distances": "all",
        "block_size": 4,
        "time_limit": 100.0,
        "tolerance": 1e-9,
        "max_enrolled_cosine": 0.4,
        "seed": 9,
    }
    output = tmp_path / "references.npz"
    assert call(pack, gallery=gallery, output=output, **changed)[0] == 0
    record = load_embeddings(output).metadata["packing"]
    assert {name: record[name] for name in changed} == changed


def test_more_identities_than_people_is_said(call, gallery, tmp_path):
    output = tmp_path / "references.npz"
    code, _, error = call(
        pack, gallery=gallery, output=output, num_identities=15, num_iterations=5
    )
    assert code == 0
    assert "the other 5 start at mixtures of two" in error
    assert load_embeddings(output).names.tolist().count("mixture") == 5


def test_same_command_again_does_nothing_and_others_are_refused(
    call, gallery, tmp_path
):
    output = tmp_path / "references.npz"
    settings = {"gallery": gallery, "output": output, "num_iterations": 5}
    call(pack, **settings)
    content = output.read_bytes()
    checkpoint = tmp_path / ".references.checkpoint.npz"
    checkpoint.touch()
    # Newer than the output: of a command that was to overwrite it.
    os.utime(output, (1e9, 1e9))
    code, printed, _ = call(pack, **settings)
    assert (code, output.read_bytes()) == (0, content)
    assert "already packed" in printed and checkpoint.exists()
    # Older: a kill came between the output and the cleaning up.
    os.utime(checkpoint, (1e9 - 1, 1e9 - 1))
    with locks.held(output):
        assert call(pack, **settings)[0] == 0 and checkpoint.exists()
    assert call(pack, **settings)[0] == 0 and not checkpoint.exists()
    code, _, error = call(pack, **settings, seed=1)
    assert code == 2
    assert "made with seed = 0, asked for 1" in error
    assert output.read_bytes() == content
    assert call(pack, **settings, seed=1, overwrite="true")[0] == 0
    assert output.read_bytes() != content


def test_an_output_is_packed_by_one_command_at_a_time(call, gallery, tmp_path):
    output = tmp_path / "references.npz"
    with locks.held(output):
        code, _, error = call(pack, gallery=gallery, output=output, num_iterations=5)
    assert (code, output.exists()) == (2, False)
    assert "another process is writing it" in error


def test_more_than_memory_holds_is_refused_before_it_is_filled(
    call, gallery, tmp_path, unit_rows
):
    # More than any machine has: 2^31 rows of 2^16 dimensions are 0.5 PB in float32.
    wide = np.zeros((20, 2**16), np.float32)
    wide[:, :8] = unit_rows
    save_embeddings(gallery, wide, kind="gallery")
    settings = {"gallery": gallery, "output": tmp_path / "references.npz"}
    code, _, error = call(pack, **settings, num_identities=2**31 - 1)
    assert (code, error.count("\n")) == (2, 1)
    assert "num_identities is 2147483647: that many references of 65536" in error
    assert re.search(r"need 2251799\.8 GB of memory, .* has \d+\.\d GB; ask", error)


def test_a_checkpoint_that_can_not_be_removed_is_no_failure(
    call, gallery, tmp_path, monkeypatch
):
    output = tmp_path / "references.npz"
    settings = {"gallery": gallery, "output": output, "num_iterations": 3}
    unlink = pathlib.Path.unlink

    def refuse(path, missing_ok=False):
        if path.name == ".references.checkpoint.npz":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        unlink(path, missing_ok)

    # As mounts do that can't remove: permissions would not keep root from it.
    monkeypatch.setattr(pathlib.Path, "unlink", refuse)
    code, printed, error = call(pack, **settings)
    assert code == 0
    assert "10 references" in printed
    assert ".references.checkpoint.npz: can't be removed" in error
    assert len(load_embeddings(output).embeddings) == 10


def test_initial_rows_from_a_file(call, gallery, tmp_path, unit_rows):
    start, output = tmp_path / "start.npz", tmp_path / "references.npz"
    save_embeddings(start, unit_rows[5:12], kind="references", model=MODEL)
    settings = {"gallery": gallery, "output": output, "initial": start}
    code, *_ = call(pack, **settings, num_iterations=1, learning_rate=1e-6)
    assert code == 0
    found = load_embeddings(output).embeddings
    np.testing.assert_allclose(found, unit_rows[5:12], atol=1e-5)
    code, _, error = call(pack, **settings, num_identities=8, overwrite="true")
    assert code == 2
    assert "7 rows, --num_identities asks for 8" in error


def test_a_set_grows_without_moving(call, gallery, tmp_path):
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    settings = {"gallery": gallery, "num_iterations": 20}
    call(pack, **settings, output=first, num_identities=6)
    code, printed, _ = call(
        pack, **settings, output=second, num_identities=4, fixed=first
    )
    assert code == 0
    assert "10 references" in printed
    before, after = load_embeddings(first), load_embeddings(second)
    np.testing.assert_array_equal(after.embeddings[:6], before.embeddings)
    assert after.names[:6].tolist() == before.names.tolist()
    assert after.labels.tolist() == list(range(10))
    # All are told of, beside the new ones.
    cosines = after.embeddings @ after.embeddings.T - 2 * np.eye(10)
    everyone = after.metadata["packing"]["all"]
    assert everyone["num_identities"] == 10
    assert everyone["max_cosine"] == pytest.approx(cosines.max(), abs=1e-6)
    # The new ones start at the people whom the first set left.
    assert len({name for name in after.names}) == 10


def test_enrolled_people_are_kept_away_from(call, gallery, tmp_path, unit_rows):
    enrolled, output = tmp_path / "enrolled.npz", tmp_path / "references.npz"
    save_embeddings(enrolled, unit_rows[:3], kind="gallery", model=MODEL)
    settings = {"gallery": gallery, "enrolled": enrolled, "num_iterations": 20}
    code, *_ = call(pack, **settings, output=output, max_enrolled_cosine=0.6)
    assert code == 0
    found = load_embeddings(output)
    cosine = found.embeddings.astype(float) @ unit_rows[:3].T
    assert cosine.max() <= 0.6 + 1e-6
    certificate = found.metadata["packing"]["enrolled"]
    assert certificate["kept"]
    assert certificate["count"] == 3
    assert certificate["max_cosine"] == pytest.approx(cosine.max(), abs=1e-7)
    everywhere = np.concatenate([np.eye(8), -np.eye(8)]).astype(np.float32)
    save_embeddings(enrolled, everywhere, kind="gallery", model=MODEL)
    infeasible = {**settings, "output": output, "max_enrolled_cosine": 0.1}
    code, _, error = call(pack, **infeasible, overwrite="true")
    assert code == 2
    # Kept is the best found, with its distance from what was asked for.
    certificate = load_embeddings(output).metadata["packing"]["enrolled"]
    assert not certificate["kept"]
    excess = certificate["max_cosine"] - 0.1
    assert excess > 0
    assert f"{excess:.2g} more than allowed; " in error
    assert f"{certificate['too_near']} references are too near" in error
    # Asked again, the answer is the same: it is not taken for done.
    code, _, again = call(pack, **infeasible)
    assert (code, again) == (2, error.splitlines()[-1] + "\n")


def test_groups_get_their_shares_and_are_reported(call, tmp_path, unit_rows):
    gallery, output = tmp_path / "gallery.npz", tmp_path / "references.npz"
    settings = {"gallery": gallery, "output": output, "balance": "gender"}
    genders = np.repeat(["female", "male"], [14, 6])
    save_embeddings(gallery, unit_rows, kind="gallery", groups={"gender": genders})
    code, printed, _ = call(
        pack,
        **settings,
        num_identities=8,
        num_iterations=5,
        shares="female:.75,male:.25",
    )
    assert code == 0
    found = load_embeddings(output)
    assert found.groups["gender"].tolist() == ["female"] * 6 + ["male"] * 2
    rows = [int(name.split()[-1]) for name in found.names]
    assert genders[rows].tolist() == found.groups["gender"].tolist()
    # Whoever is in it stays what they are when the set grows.
    grown, swapped = tmp_path / "grown.npz", tmp_path / "swapped.npz"
    other = np.where(found.groups["gender"] == "male", "female", "male")
    save_embeddings(
        swapped, found.embeddings, kind="references", groups={"gender": other}
    )
    more = {"num_identities": 4, "num_iterations": 5, "fixed": swapped}
    assert call(pack, **{**settings, "output": grown}, **more)[0] == 0
    groups = load_embeddings(grown).groups["gender"].tolist()
    assert groups == [*other, "female", "female", "male", "male"]
    _, printed_without, _ = call(pack, gallery=gallery, output=tmp_path / "n", **more)
    assert "left out: gender of --fixed" in printed_without
    report = found.metadata["packing"]["balance"]
    assert report["attribute"] == "gender"
    assert {name: g["count"] for name, g in report["groups"].items()} == {
        "female": 6,
        "male": 2,
    }
    nearest = (found.embeddings.astype(float) @ unit_rows.T).argmax(axis=1)
    belongs = genders[nearest] == found.groups["gender"]
    assert report["belonging"] == np.mean(belongs)
    assert "  male: 2 references" in printed
    for changed, message in (
        ({"balance": "age"}, "which age it is (attributes: gender)"),
        ({"shares": "female"}, "'female' is not a group and its share"),
        ({"shares": "female:1,child:0.1"}, "no group 'child'"),
        ({"balance": "", "shares": "female:1"}, "--shares says nothing without"),
        ({"initial": gallery}, "--initial and --balance both say"),
        ({"num_identities": 1}, "num_identities is 1"),
    ):
        code, _, error = call(pack, **{**settings, **changed}, overwrite="true")
        assert (code, error.count("\n")) == (2, 1)
        assert message in error
    assert load_embeddings(output).metadata["packing"]["balance"] == report


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gallery": ""}, "--gallery is missing"),
        ({"output": ""}, "--output is missing"),
        ({"gallery": "nowhere.npz"}, "nowhere.npz: no such file"),
        ({"num_identities": 1}, "num_identities is 1"),
        ({"num_identities": 0}, "num_identities is 0, must be at least 1 and at most"),
        ({"num_identities": 2**31}, "must be at least 1 and at most 2147483647\n"),
        ({"num_iterations": 0}, "num_iterations is 0"),
        ({"num_devices": 0}, "num_devices is 0, must be at least 1\n"),
        ({"method": "magic"}, "should be one of <annealed|algorithm1|algorithm2>"),
        ({"regularization_weight": -1}, "regularization_weight is -1"),
        ({"block_size": 0}, "block_size is 0"),
        ({"max_enrolled_cosine": 1.5}, "max_enrolled_cosine is 1.5"),
        ({"tolerance": "nan"}, "tolerance is nan"),
        ({"checkpoint_seconds": -1}, "checkpoint_seconds is -1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_refusals(call, gallery, tmp_path, changed, message):
    settings = {"gallery": gallery, "output": tmp_path / "references.npz", **changed}
    code, _, error = call(pack, **settings)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["gallery.npz"]


def test_files_that_do_not_fit_are_refused(call, gallery, tmp_path):
    other, output = tmp_path / "other.npz", tmp_path / "references.npz"
    save_embeddings(other, np.eye(5, dtype=np.float32), kind="references")
    settings = {"gallery": gallery, "output": output}
    for changed, message in (
        ({"fixed": other}, "have 8 and 5 columns; both must come from the same"),
        ({"enrolled": other}, "have 8 and 5 columns; both must come from the same"),
        ({"initial": other}, "have 8 and 5 columns; both must come from the same"),
        ({"initial": gallery, "num_identities": 0}, "num_identities is 0"),
        ({"initial": gallery, "num_identities": -3}, "num_identities is -3"),
        ({"output": gallery, "overwrite": "true"}, "--output is --gallery"),
        ({"output": tmp_path, "overwrite": "true"}, "is a folder"),
        ({"output": gallery / "references.npz"}, "is a file, expected a folder"),
    ):
        code, _, error = call(pack, **{**settings, **changed})
        assert (code, error.count("\n")) == (2, 1), error
        assert message in error
    assert not output.exists()
    assert load_embeddings(gallery).metadata["kind"] == "gallery"


def test_checkpoints_of_others_are_refused(call, gallery, tmp_path, unit_rows):
    """Another run's is not taken up, nor lost; a damaged one is named."""
    checkpoint = tmp_path / ".references.checkpoint.npz"
    settings = {"gallery": gallery, "output": tmp_path / "references.npz"}
    pack_embeddings(
        unit_rows,
        unit_rows,
        PackingConfig(num_iterations=3),
        checkpoint_path=checkpoint,
        checkpoint_seconds=0,
    )
    content = checkpoint.read_bytes()
    code, _, error = call(pack, **settings)
    assert code == 2
    assert f"{checkpoint}: a checkpoint of other settings" in error
    assert checkpoint.read_bytes() == content
    for damaged in (content[:1000], b"", b"junk"):
        checkpoint.write_bytes(damaged)
        code, _, error = call(pack, **settings)
        assert code == 2
        assert f"{checkpoint}: not a readable checkpoint" in error
        assert "delete it to start afresh" in error
        assert "pickle" not in error
