"""The discrete VAE against recorded outputs of openai/DALL-E."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from beit.errors import CheckpointError, ConfigError
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, load_tokenizer, tokenizer_fingerprint
from beit.weights import DALLE, open_dalle
from tests.conftest import GOLDEN

FOLDER = GOLDEN / "dalle"


def ours(name):
    """Translate a name of openai/DALL-E: encoder.blocks.group_1.block_2.res_path.conv_3.w."""
    coder, _, rest = name.partition(".blocks.")
    rest = re.sub(r"^input\.", "stem.", rest)
    rest = re.sub(r"^output\.conv\.", "head.", rest)
    rest = re.sub(r"^group_(\d)\.block_(\d)", lambda m: f"groups.{int(m[1]) - 1}.{int(m[2]) - 1}", rest)
    rest = re.sub(r"res_path\.conv_(\d)", lambda m: f"convolutions.{int(m[1]) - 1}", rest)
    rest = rest.replace("id_path", "identity")
    return f"{coder}.{rest[:-1]}{'weight' if rest[-1] == 'w' else 'bias'}"


def test_the_recorded_model():
    case = json.loads((FOLDER / "case.json").read_text())
    config = DiscreteVAEConfig(
        vocab_size=case["encoder"]["vocab_size"],
        hidden_size=case["encoder"]["n_hid"],
        blocks_per_group=case["encoder"]["n_blk_per_group"],
        groups=case["encoder"]["group_count"],
        decoder_input_size=case["decoder"]["n_init"],
    )
    model = DiscreteVAE(config)
    tensors = load_file(FOLDER / "weights.safetensors")
    model.load_state_dict({ours(name): tensor for name, tensor in tensors.items()})
    io = np.load(FOLDER / "io.npz")
    with torch.no_grad():
        pixels = torch.from_numpy(io["pixels"])
        np.testing.assert_allclose(model.logits(pixels).numpy(), io["encoder_logits"], atol=2e-5, rtol=1e-4)
        tokens = model.encode(pixels)
        assert np.array_equal(tokens.numpy(), io["tokens"])
        one_hot = torch.nn.functional.one_hot(tokens, 64).movedim(-1, 1).float()
        np.testing.assert_allclose(model.decoder(one_hot).numpy(), io["decoder_output"], atol=2e-5, rtol=1e-4)
        np.testing.assert_allclose(model.decode(tokens).numpy(), io["reconstruction"], atol=2e-5, rtol=1e-4)


def test_the_released_files():
    """encoder.pkl and decoder.pkl, whole pickled modules, give the recorded logits, tokens and pixels."""
    model = DiscreteVAE.from_pretrained(FOLDER)
    assert model.config == DiscreteVAEConfig(64, 8, 2, 4, 16, 3)
    io = np.load(FOLDER / "io.npz")
    with torch.no_grad():
        pixels = torch.from_numpy(io["pixels"])
        np.testing.assert_allclose(model.logits(pixels).numpy(), io["encoder_logits"], atol=1e-4)
        tokens = model.encode(pixels)
        assert np.array_equal(tokens.numpy(), io["tokens"])
        np.testing.assert_allclose(model.decode(tokens).numpy(), io["reconstruction"], atol=1e-4)


def test_the_released_files_converted_once(tmp_path):
    model = DiscreteVAE.from_pretrained(FOLDER)
    model.save_pretrained(tmp_path)
    again = DiscreteVAE.from_pretrained(tmp_path)
    assert again.config == model.config
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), again.parameters(), strict=True))


def test_the_table_is_inverted():
    entries = open_dalle({name: FOLDER / name for name in ("encoder.pkl", "decoder.pkl")})
    there = DALLE.from_canonical({name: entry.read() for name, entry in entries.items()})
    recorded = load_file(FOLDER / "weights.safetensors")
    assert there.keys() == recorded.keys()
    assert all(np.array_equal(there[name], tensor.numpy()) for name, tensor in recorded.items())
    assert {ours(name) for name in recorded} == entries.keys()


def test_the_encoder_alone_encodes(tmp_path):
    shutil.copy(FOLDER / "encoder.pkl", tmp_path)
    model = load_tokenizer(tmp_path)
    io = np.load(FOLDER / "io.npz")
    with torch.no_grad():
        tokens = model.encode(torch.from_numpy(io["pixels"]))
    assert np.array_equal(tokens.numpy(), io["tokens"])
    assert not model.decodes_pixels
    assert tokenizer_fingerprint(model) == tokenizer_fingerprint(load_tokenizer(FOLDER)), "the tokens are the same"
    with pytest.raises(ConfigError, match="an encoder without its decoder"):
        model.decode(tokens)
    model.save_pretrained(tmp_path / "saved")
    assert not load_tokenizer(tmp_path / "saved").decodes_pixels


def test_a_decoder_alone_is_refused(tmp_path):
    shutil.copy(FOLDER / "decoder.pkl", tmp_path)
    with pytest.raises(CheckpointError, match=r"decoder\.pkl without encoder\.pkl"):
        load_tokenizer(tmp_path)


def test_the_old_format_of_torch_is_recognised(tmp_path):
    """Whole modules are read from zip files, as OpenAI released them; the older format holds none of these tensors."""
    torch.save({"weight": torch.zeros(2)}, tmp_path / "encoder.pkl", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"encoder\.pkl holds a dict; expected the dall_e\.encoder\.Encoder"):
        load_tokenizer(tmp_path)


def test_the_published_name_downloads_both_files(tmp_path, monkeypatch):
    fetched = []

    def fetch(url, options):
        fetched.append(url)
        return FOLDER / url.rsplit("/", 1)[1]

    monkeypatch.setattr("beit.weights.dalle.fetch_url", fetch)
    assert load_tokenizer("openai/DALL-E").vocab_size == 64
    assert {url.rsplit("/", 1)[1] for url in fetched} == {"encoder.pkl", "decoder.pkl"}


@pytest.mark.parametrize("evil", ["evil.pkl", "evil_torch.pkl"])
def test_unsafe_and_wrong_files_are_refused(evil, tmp_path, monkeypatch):
    monkeypatch.setenv("BEIT_EVIL_MARKER", str(tmp_path / "marker"))
    shutil.copy(FOLDER / "encoder.pkl", tmp_path)
    shutil.copy(FOLDER / "encoder.pkl", tmp_path / "decoder.pkl")
    with pytest.raises(CheckpointError, match=r"holds a dall_e.encoder.Encoder; expected the dall_e.decoder.Decoder"):
        DiscreteVAE.from_pretrained(tmp_path)
    shutil.copy(GOLDEN / "evil" / evil, tmp_path / "decoder.pkl")
    with pytest.raises(CheckpointError, match="wants to use"):
        DiscreteVAE.from_pretrained(tmp_path)
    assert not (tmp_path / "marker").exists()
