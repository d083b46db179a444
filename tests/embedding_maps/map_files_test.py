"""hyperface-map: files in, files out, what it says and what it refuses."""

import itertools
import json

import numpy as np
import pytest
import torch
from PIL import Image

from bridges import apply_embedding_map
from bridges.cli import map as command
from bridges.embedding_maps import fitting
from bridges.embedding_maps.applying import largest_cosine
from bridges.recognition.backbones import build_backbone
from bridges.recognition.checkpoint import save_network
from hyperface_jax import InputError, load_embeddings, save_embeddings
from tests.embedding_maps.planted import A, B, C, planted, unit


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with embedding files a.npz and b.npz of the same images."""
    monkeypatch.chdir(tmp_path)
    a, b, people = planted(num_people=40)
    names = np.array([f"{i:03d}.jpg" for i in range(len(a))])
    save_embeddings("a.npz", a, kind="gallery", labels=people, names=names, model=A)
    order = np.random.default_rng(0).permutation(len(b))
    save_embeddings(
        "b.npz",
        b[order],
        kind="gallery",
        # The other program numbers people differently.
        labels=1000 - people[order],
        names=names[order],
        model=B,
    )
    return tmp_path


def run(*arguments):
    command.FLAGS.unparse_flags()
    for name in command.FLAGS:
        command.FLAGS[name].unparse()
    command.FLAGS(["hyperface-map", *arguments])
    command.main()


FIT = ("--from_embeddings=a.npz", "--to_embeddings=b.npz", "--output=map.npz")
APPLY = ("--map=map.npz", "--apply=a.npz", "--output=mapped.npz")


def test_rows_are_matched_by_name_and_mapped_rows_are_of_the_target(folder, capsys):
    run(*FIT)
    said = capsys.readouterr().out
    assert "map.npz: a -> b, 160 pairs of 40 people" in said and "Procrustes" in said
    run(*APPLY)
    # Who loads with the target's model, as generation does, gets no refusal.
    mapped = load_embeddings("mapped.npz", kind="gallery", model=B)
    given, true = load_embeddings("a.npz"), load_embeddings("b.npz")
    np.testing.assert_array_equal(mapped.labels, given.labels)
    np.testing.assert_array_equal(mapped.names, given.names)
    true_rows = true.embeddings[np.argsort(true.names)]
    cosines = np.sum(mapped.embeddings * true_rows, axis=1)
    assert cosines.mean() > 0.9
    about = mapped.metadata["created_with"]["settings"]["mapped"]
    assert about["from"] == A and 0 < about["held_out"]["rank1"] <= 1
    said = capsys.readouterr().out
    assert "mapped from a to b" in said and "protects nobody" in said


def test_the_separation_of_references_is_measured_anew(folder, capsys):
    run(*FIT)
    random = np.random.default_rng(1)
    groups = {"gender": np.array(["female", "male"] * 15)}
    save_embeddings(
        "references.npz",
        unit(random.normal(size=(30, 12))),
        kind="references",
        labels=[f"{i:02d}" for i in range(30)],
        groups=groups,
        model=A,
        packing={"max_cosine": 0.1},
    )
    run("--map=map.npz", "--apply=references.npz", "--output=mapped.npz")
    mapped = load_embeddings("mapped.npz", kind="references", model=B)
    assert "packing" not in mapped.metadata
    assert mapped.identities.tolist() == [f"{i:02d}" for i in range(30)]
    assert mapped.groups["gender"].tolist() == groups["gender"].tolist()
    about = mapped.metadata["created_with"]["settings"]["mapped"]
    for key, file in (("max_cosine_before", "references.npz"), ("max_cosine", None)):
        rows = load_embeddings(file).embeddings if file else mapped.embeddings
        wanted = max(x @ y for x, y in itertools.combinations(rows, 2))
        assert about[key] == pytest.approx(wanted, abs=1e-6)
    said = capsys.readouterr().out
    assert (
        f"was {about['max_cosine_before']:.3f} and is {about['max_cosine']:.3f}" in said
    )
    assert "--initial=mapped.npz" in said


def test_largest_cosine_is_found_across_blocks():
    rows = unit(np.random.default_rng(0).normal(size=(5000, 8)))
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -1)
    assert largest_cosine(rows) == pytest.approx(cosines.max(), abs=1e-6)


def test_what_is_there_is_kept_and_other_settings_are_refused(folder):
    run(*FIT)
    run(*APPLY)
    before = [(folder / name).read_bytes() for name in ("map.npz", "mapped.npz")]
    run(*FIT)
    run(*APPLY)
    after = [(folder / name).read_bytes() for name in ("map.npz", "mapped.npz")]
    assert before == after
    with pytest.raises(InputError, match="seed = 0, asked for 1"):
        run(*FIT, "--seed=1")
    run(*FIT[:2], "--output=other.npz", "--seed=1")
    with pytest.raises(InputError, match=r"mapped.npz: made with other map"):
        run("--map=other.npz", *APPLY[1:])
    with pytest.raises(InputError, match=r"a.npz: is read"):
        run(*APPLY[:2], "--output=a.npz")
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == [
        "a.npz",
        "b.npz",
        "map.npz",
        "mapped.npz",
        "other.npz",
    ]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (C, r"e.npz: embeddings of c \(cccc.*map.npz maps a \(aaaa.*map from c"),
        (B, "in the space that it maps to"),
        (None, "does not say which recogniser"),
    ],
)
def test_embeddings_of_other_recognisers_are_not_mapped(folder, model, reason):
    run(*FIT)
    save_embeddings("e.npz", planted().a, kind="gallery", model=model)
    with pytest.raises(InputError, match=reason):
        run("--map=map.npz", "--apply=e.npz", "--output=mapped.npz")
    assert not (folder / "mapped.npz").exists()


def test_mapped_rows_are_neither_mapped_on_nor_fitted(folder):
    run(*FIT)
    run(*APPLY)
    run("--from_embeddings=b.npz", "--to_embeddings=a.npz", "--output=back.npz")
    with pytest.raises(InputError, match=r"mapped.npz: its rows were mapped before"):
        apply_embedding_map("back.npz", "mapped.npz", "again.npz")
    with pytest.raises(InputError, match=r"mapped.npz: its rows were mapped to"):
        run("--from_embeddings=a.npz", "--to_embeddings=mapped.npz", "--output=n.npz")


def test_rows_of_another_size_than_their_model_says_are_refused(folder):
    run(*FIT)
    save_embeddings("e.npz", planted(p=9).a, kind="gallery", model=A)
    with pytest.raises(InputError, match=r"rows of 9 numbers, map\.npz maps 12"):
        run("--map=map.npz", "--apply=e.npz", "--output=mapped.npz")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": None}, r"b.npz: does not say which recogniser"),
        ({"model": A}, "both sides are of a"),
        ({"names": None}, r"b.npz: has no names"),
        ({"names": ["001.jpg"] * 160}, "two rows are named '001.jpg'"),
        ({"rows": 150}, r"b.npz: lacks 10 of the images of a.npz, such as '150.jpg'"),
        ({"labels": np.arange(160) // 2}, "labels disagree"),
        ({"labels": np.zeros(160, int)}, "labels disagree"),
    ],
)
def test_files_that_do_not_pair_are_refused(folder, change, reason):
    _, b, people = planted(num_people=40)
    rows = change.pop("rows", 160)
    names = [f"{i:03d}.jpg" for i in range(rows)]
    given = {"names": names, "labels": people[:rows], "model": B} | change
    save_embeddings("b.npz", b[:rows], kind="gallery", **given)
    with pytest.raises(InputError, match=reason):
        run(*FIT)
    assert not (folder / "map.npz").exists()


def test_labels_of_one_file_do(folder):
    _, b, _ = planted(num_people=40)
    names = [f"{i:03d}.jpg" for i in range(160)]
    run(*FIT)
    save_embeddings("c.npz", b, kind="gallery", names=names, model=B)
    run("--from_embeddings=a.npz", "--to_embeddings=c.npz", "--output=c_map.npz")
    maps = [np.load(name)["matrix"] for name in ("map.npz", "c_map.npz")]
    np.testing.assert_allclose(*maps, atol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "--from is missing"),
        (["--to=x"], "--from is missing"),
        (["--from_embeddings=a.npz"], "--to_embeddings is missing"),
        (["--apply=a.npz"], "--map is missing"),
        (["--map=map.npz", "--apply=a.npz"], "--output is missing"),
        (["--from=x", "--apply=a.npz"], "--from and --apply are of two forms"),
        (["--images=x", "--to_embeddings=b.npz"], "--images and --to_embeddings are"),
    ],
)
def test_flags_of_one_form_are_asked_for(arguments, reason):
    with pytest.raises(InputError, match=reason):
        run(*arguments)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two untrained networks, which tell coarse patterns apart."""
    root = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        save_network(
            root / name,
            build_backbone("iresnet_small", image_size=32, embedding_size=16),
            {"backbone": "iresnet_small", "image_size": 32, "embedding_size": 16},
        )
    return root


@pytest.fixture
def people(tmp_path):
    random = np.random.default_rng(0)
    for person in range(60):
        face = random.integers(0, 240, (2, 2, 3)).repeat(16, 0).repeat(16, 1)
        for number in range(2):
            pixels = face + random.integers(0, 15, (32, 32, 1))
            path = tmp_path / "people" / f"{person:02d}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "people"


def test_images_are_embedded_by_both_and_nothing_is_left(
    folder, people, models, monkeypatch
):
    arguments = (
        f"--from={models / 'one'}",
        f"--to={models / 'two'}",
        f"--images={people}",
        "--output=map.npz",
        "--noflip",
    )
    fit = fitting.fit_embedding_map

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "fit_embedding_map", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(*arguments)
    kept = sorted(path.name for path in folder.glob(".map.*-*.npz"))
    assert [name.split("-")[0] for name in kept] == [".map.from", ".map.to"]
    sides = [load_embeddings(folder / name) for name in kept]
    # What was embedded before the interruption is not embedded again.
    monkeypatch.setattr("bridges.recognisers.gallery.embed_source", interrupted)
    monkeypatch.setattr(fitting, "fit_embedding_map", fit)
    run(*arguments)
    assert {path.name for path in folder.iterdir() if path.name[0] == "."} <= {
        ".map.lock"
    }
    with np.load("map.npz") as content:
        record = json.loads(str(content["metadata"]))
        matrix = content["matrix"]
    models_of = [side.metadata["model"] for side in sides]
    assert [record["from"], record["to"]] == models_of
    assert record["created_with"]["settings"]["flip"] is False
    wanted = fit(
        sides[0].embeddings,
        sides[1].embeddings,
        sides[0].labels,
        from_model=models_of[0],
        to_model=models_of[1],
    )
    np.testing.assert_array_equal(matrix, wanted.map.matrix)
    run(*arguments)
    with pytest.raises(InputError, match="flip = False, asked for True"):
        run(*arguments[:-1])
    with pytest.raises(InputError, match="both sides are of"):
        run(*arguments[:1], f"--to={models / 'one'}", *arguments[2:])


def test_nothing_is_left_of_a_map_that_is_refused(folder, people, models):
    for path in people.iterdir():
        if int(path.name) >= 19:
            (path / "0.png").unlink()
            (path / "1.png").unlink()
    with pytest.raises(InputError, match="19 people are too few"):
        run(
            f"--from={models / 'one'}",
            f"--to={models / 'two'}",
            f"--images={people}",
            "--output=map.npz",
        )
    assert not list(folder.glob("*map*npz"))
