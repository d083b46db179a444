"""The prompts of Arc2Face against a text transformer written out by hand."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPTextModel

from bridges import load_generator
from bridges.devices import Device
from bridges.generators.arc2face import networks
from bridges.generators.arc2face.prompt_encoder import PromptEncoder
from hyperface_jax import InputError
from tests.generation import arc2face_files

START, END = 49406, 49407
SENTENCE = [START, 1125, 539, 320, 1014, 2533] + [END] * 71
NOTHING = [START] + [END] * 76


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return arc2face_files.write(tmp_path_factory.mktemp("arc2face"))


@pytest.fixture(scope="module")
def generator(paths):
    return load_generator("arc2face", device="cpu", **paths, batch_size=2)


@pytest.fixture
def encoder_folder(paths, tmp_path):
    """A copy of the encoder's folder, to change."""
    shutil.copytree(f"{paths['models']}/encoder", tmp_path / "encoder")
    return tmp_path / "encoder"


def unit_rows(count: int) -> np.ndarray:
    rows = np.random.default_rng(5).normal(size=(count, 512)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def norm(x, state, name):
    mean = x.mean(1, keepdims=True)
    scaled = (x - mean) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def by_hand(tokens, row=None):
    """The last hidden state of one sentence in NumPy, float64 (Radford et al. 2021)."""
    state = {
        name: value.numpy().astype(np.float64)
        for name, value in arc2face_files.encoder_state("").items()
        if "token" not in name
    }
    table = arc2face_files.encoder_state("")["embeddings.token_embedding.weight"]
    x = table[torch.tensor(tokens)].numpy().astype(np.float64)
    if row is not None:
        x[4] = np.concatenate([row, np.zeros(x.shape[1] - len(row))])
    x = x + state["embeddings.position_embedding.weight"]
    heads, size = arc2face_files.HEADS, x.shape[1] // arc2face_files.HEADS
    for i in range(arc2face_files.LAYERS):
        layer = f"encoder.layers.{i}"
        y = norm(x, state, f"{layer}.layer_norm1")
        q, k, v = (
            linear(y, state, f"{layer}.self_attn.{name}_proj").reshape(-1, heads, size)
            for name in "qkv"
        )
        scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(size)
        scores[:, np.triu(np.ones(scores.shape[1:], bool), 1)] = -np.inf
        share = np.exp(scores - scores.max(2, keepdims=True))
        share /= share.sum(2, keepdims=True)
        y = np.einsum("hij,jhd->ihd", share, v).reshape(x.shape)
        x = x + linear(y, state, f"{layer}.self_attn.out_proj")
        y = linear(norm(x, state, f"{layer}.layer_norm2"), state, f"{layer}.mlp.fc1")
        x = x + linear(y / (1 + np.exp(-1.702 * y)), state, f"{layer}.mlp.fc2")
    return norm(x, state, "final_layer_norm")


def test_an_embedding_stands_for_the_word(generator):
    rows = unit_rows(3)
    prompts = generator.encode(rows)
    assert prompts.shape == (3, 77, arc2face_files.HIDDEN)
    assert prompts.dtype == np.float32
    expected = np.stack([by_hand(SENTENCE, row.astype(np.float64)) for row in rows])
    np.testing.assert_allclose(prompts, expected, atol=2e-4)
    # The rows before it can't know of it, the later ones do.
    assert np.array_equal(prompts[0, :4], prompts[1, :4])
    assert np.abs(prompts[0, 4:] - prompts[1, 4:]).max(axis=1).min() > 0.01


def test_guidance_leads_away_from_the_empty_sentence(generator):
    found = generator.unconditional.numpy()
    np.testing.assert_allclose(found, by_hand(NOTHING), atol=2e-4)


def test_a_prompt_depends_on_its_embedding_alone(generator):
    rows = unit_rows(3)
    together = generator.encode(rows)
    for i in range(3):
        assert np.array_equal(generator.encode(rows[i : i + 1])[0], together[i])


def test_the_weights_are_those_that_transformers_reads(paths):
    found = networks.load_text_encoder(*encoder_files(paths["models"] + "/encoder"))
    theirs, info = CLIPTextModel.from_pretrained(
        f"{paths['models']}/encoder", output_loading_info=True, local_files_only=True
    )
    assert not info["missing_keys"]
    state = theirs.state_dict()
    assert state.keys() == found.state_dict().keys()
    for name, value in found.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_old_and_new_names_are_read(encoder_folder, prefix):
    torch.save(
        arc2face_files.encoder_state(prefix), encoder_folder / "pytorch_model.bin"
    )
    network = networks.load_text_encoder(*encoder_files(encoder_folder))
    prompts = PromptEncoder(network, Device(), 1, "").encode(unit_rows(1))
    expected = by_hand(SENTENCE, unit_rows(1)[0])
    np.testing.assert_allclose(prompts[0].numpy(), expected, atol=2e-4)


def test_weights_of_half_precision_in_safetensors_are_read(encoder_folder):
    state = arc2face_files.encoder_state()
    half = {name: value.half().contiguous() for name, value in state.items()}
    del half["text_model.embeddings.position_ids"]
    path = encoder_folder / "model.fp16.safetensors"
    save_file(half, path)
    network = networks.load_text_encoder(encoder_folder / "config.json", path)
    name = "final_layer_norm.weight"
    assert torch.equal(network.get_parameter(name), half[f"text_model.{name}"].float())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"final_layer_norm.bias": None}, r"final_layer_norm\.bias is missing"),
        ({"extra.weight": torch.zeros(2)}, r"extra\.weight is \(2,\), expected none"),
        ({"final_layer_norm.bias": torch.zeros(3)}, r"bias is \(3,\), expected \(512,"),
        (
            {"final_layer_norm.bias": torch.zeros(512, dtype=torch.int8)},
            r"final_layer_norm\.bias holds torch\.int8, no weights",
        ),
        ({3: torch.zeros(2)}, "holds more than tensors, expected a state dict"),
        ({"note": "text"}, "holds more than tensors, expected a state dict"),
        ({"note": np.random.default_rng(0)}, "damaged, or holds more than tensors"),
    ],
)
def test_other_tensors_than_the_encoders_are_refused(encoder_folder, change, reason):
    state = arc2face_files.encoder_state()
    for name, value in change.items():
        key = f"text_model.{name}" if isinstance(name, str) else name
        state[key] = value
        if value is None:
            del state[key]
    torch.save(state, encoder_folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=reason) as error:
        networks.load_text_encoder(*encoder_files(encoder_folder))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(encoder_folder / "pytorch_model.bin"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("hidden_size", 64), ("vocab_size", 2000), ("max_position_embeddings", 16)],
)
def test_encoders_that_the_sentence_does_not_fit_are_refused(name, value):
    shape = {**arc2face_files.ENCODER, "intermediate_size": 8, name: value}
    with torch.device("meta"):
        network = CLIPTextModel(networks.CLIPTextConfig(**shape))
    with pytest.raises(InputError, match=f"^c.json: {name} is {value}, expected at"):
        PromptEncoder(network, Device(), 1, "c.json")


def encoder_files(folder):
    return [
        networks.pathlib.Path(folder) / n for n in ("config.json", "pytorch_model.bin")
    ]
