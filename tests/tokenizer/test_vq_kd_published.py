"""The published VQ-KD: its files read, and what they do beside the plain formulation."""

import argparse
import shutil

import pytest
import torch
from torch.nn import functional

from beit.errors import CheckpointError, ConfigError
from beit.tokenizer.vq_kd import VQKD
from tests.conftest import GOLDEN
from tests.tokenizer.small import SMALL


def published_coder(name, layers, channels, patch):
    """The tensors of an encoder or a decoder, 4 x 4 patches."""
    state = {
        "cls_token": 0.1 * torch.randn(1, 1, 64),
        "pos_embed": torch.randn(1, 17, 64),
        "patch_embed.proj.weight": torch.randn(64, channels, patch, patch) / patch,
        "patch_embed.proj.bias": 0.1 * torch.randn(64),
        "fc_norm.weight": 1 + 0.1 * torch.randn(64),
        "fc_norm.bias": 0.1 * torch.randn(64),
    }
    for layer in range(layers):
        block = {
            "norm1.weight": 1 + 0.1 * torch.randn(64),
            "norm1.bias": 0.1 * torch.randn(64),
            "attn.q_bias": 0.1 * torch.randn(64),
            "attn.v_bias": 0.1 * torch.randn(64),
            "attn.qkv.weight": torch.randn(192, 64) / 8,
            "attn.proj.weight": torch.randn(64, 64) / 8,
            "attn.proj.bias": 0.1 * torch.randn(64),
            "norm2.weight": 1 + 0.1 * torch.randn(64),
            "norm2.bias": 0.1 * torch.randn(64),
            "mlp.fc1.weight": torch.randn(96, 64) / 8,
            "mlp.fc1.bias": 0.1 * torch.randn(96),
            "mlp.fc2.weight": torch.randn(64, 96) / 8,
            "mlp.fc2.bias": 0.1 * torch.randn(64),
        }
        state |= {f"blocks.{layer}.{key}": value for key, value in block.items()}
    return {f"{name}.{key}": value for key, value in state.items()}


def published_state(seed=0):
    """The state dict of a small published model with random values, and what its training keeps beside it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = published_coder("encoder", layers=2, channels=3, patch=8)
        state |= published_coder("decoder", layers=1, channels=8, patch=1)
        for name, out in (("encode", 8), ("decode", 20)):
            state[f"{name}_task_layer.0.weight"] = torch.randn(64, 64) / 8
            state[f"{name}_task_layer.0.bias"] = 0.1 * torch.randn(64)
            state[f"{name}_task_layer.2.weight"] = torch.randn(out, 64) / 8
            state[f"{name}_task_layer.2.bias"] = 0.1 * torch.randn(out)
        state["quantize.embedding.weight"] = functional.normalize(torch.randn(24, 8), dim=-1)
        state["quantize.cluster_size"] = 10 * torch.rand(24)
        return state | {
            "quantize.embedding.cluster_size": torch.rand(24),
            "quantize.embedding.embed_avg": torch.randn(24, 8),
            "quantize.embedding.initted": torch.tensor([1.0]),
            "teacher_model.visual.proj": torch.randn(4, 4),
            "teacher_model.logit_scale": torch.tensor(4.6),
            "scaling_layer.shift": torch.randn(1, 3, 1, 1),
        }


def plain_coder(state, name, pixels, heads=1):
    """Patch tokens of the published vision transformer, written out."""
    own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
    patch = own["patch_embed.proj.weight"]
    x = functional.conv2d(pixels, patch, own["patch_embed.proj.bias"], stride=patch.shape[-1])
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([own["cls_token"].repeat(len(x), 1, 1), x], dim=1) + own["pos_embed"]
    batch, length, width = x.shape
    for layer in range(sum(key.endswith("attn.q_bias") for key in own)):
        p = {key.removeprefix(f"blocks.{layer}."): v for key, v in own.items() if key.startswith(f"blocks.{layer}.")}
        y = functional.layer_norm(x, (width,), p["norm1.weight"], p["norm1.bias"], eps=1e-6)
        q, k, v = (y @ part.T for part in p["attn.qkv.weight"].chunk(3))
        q, v = q + p["attn.q_bias"], v + p["attn.v_bias"]
        q, k, v = (part.reshape(batch, length, heads, width // heads).transpose(1, 2) for part in (q, k, v))
        weights = torch.softmax(q @ k.transpose(2, 3) / (width // heads) ** 0.5, dim=3)
        y = (weights @ v).transpose(1, 2).reshape(batch, length, width)
        x = x + y @ p["attn.proj.weight"].T + p["attn.proj.bias"]
        y = functional.layer_norm(x, (width,), p["norm2.weight"], p["norm2.bias"], eps=1e-6)
        y = functional.gelu(y @ p["mlp.fc1.weight"].T + p["mlp.fc1.bias"])
        x = x + y @ p["mlp.fc2.weight"].T + p["mlp.fc2.bias"]
    return functional.layer_norm(x[:, 1:], (width,), own["fc_norm.weight"], own["fc_norm.bias"], eps=1e-6)


def plain_head(state, name, x):
    hidden = torch.tanh(x @ state[f"{name}.0.weight"].T + state[f"{name}.0.bias"])
    return hidden @ state[f"{name}.2.weight"].T + state[f"{name}.2.bias"]


def plain_forward(state, pixels):
    """Tokens (B, N), the decoder's features (B, N, T) and the commitment loss of the published model."""
    features = plain_head(state, "encode_task_layer", plain_coder(state, "encoder", pixels * 255 / 127.5 - 1))
    unit, codes = features / features.norm(dim=-1, keepdim=True), state["quantize.embedding.weight"]
    distances = (unit.unsqueeze(2) - codes).pow(2).sum(-1)
    tokens = distances.argmin(-1)
    chosen = codes[tokens]
    grid = chosen.reshape(len(pixels), 4, 4, -1).permute(0, 3, 1, 2)
    predicted = plain_head(state, "decode_task_layer", plain_coder(state, "decoder", grid))
    return tokens, predicted, ((unit - chosen) ** 2).mean()


@pytest.fixture
def published(tmp_path):
    """A file as the original training saves it, and the tensors in it."""
    state = published_state()
    path = tmp_path / "published" / "vqkd.pth"
    path.parent.mkdir()
    torch.save({"model": state, "epoch": 99, "args": argparse.Namespace(model="vqkd", lr=2e-4)}, path)
    return path, state


def test_a_published_file_does_what_the_plain_formulation_does(published):
    path, state = published
    model = VQKD.from_pretrained(path)
    assert model.config == SMALL
    assert not model.training
    assert model.quantiser.initialised
    pixels = torch.rand(6, 3, 32, 32)
    tokens, predicted, commitment = plain_forward(state, pixels)
    assert len(tokens.unique()) > 8  # a test of one token would say little
    assert torch.equal(model.encode(pixels).flatten(1), tokens)
    torch.testing.assert_close(model.predict_features(tokens.view(6, 4, 4)), predicted, atol=1e-5, rtol=0)
    found = model(pixels)
    assert torch.equal(found.tokens.flatten(1), tokens)
    torch.testing.assert_close(found.predicted, predicted, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.commitment, commitment, atol=1e-6, rtol=0)


def test_a_folder_with_one_published_file(published):
    path, state = published
    model = VQKD.from_pretrained(path.parent)
    assert torch.equal(model.quantiser.codebook, state["quantize.embedding.weight"])
    shutil.copy(path, path.with_name("second.pth"))
    with pytest.raises(CheckpointError, match=r"holds 2 \.pth files, second\.pth the first; pass the path of one"):
        VQKD.from_pretrained(path.parent)


def test_a_published_file_is_kept_as_safetensors(published, tmp_path):
    model = VQKD.from_pretrained(published[0])
    model.save_pretrained(tmp_path / "ours")
    pixels = torch.rand(2, 3, 32, 32)
    assert torch.equal(VQKD.from_pretrained(tmp_path / "ours").features(pixels), model.features(pixels))


def test_published_files_that_do_not_fit(published):
    path, state = published

    def refused(message, **changes):
        changed = {name: value for name, value in {**state, **changes}.items() if value is not None}
        torch.save({"model": changed}, path)
        with pytest.raises(CheckpointError, match=message) as error:
            VQKD.from_pretrained(path)
        assert "\n" not in str(error.value)

    refused(r"1 missing: decoder\.embeddings\.cls_token", **{"decoder.cls_token": None})
    refused(r"1 unknown: extra\.weight", **{"extra.weight": torch.zeros(1)})
    refused(r"to_code\.2\.bias is \(9,\), the model has \(8,\)", **{"encode_task_layer.2.bias": torch.zeros(9)})
    refused("lacks parts of a VQ-KD tokenizer", **{"encoder.pos_embed": None})
    refused(
        r"expected a VQ-KD tokenizer, which has 'quantize\.embedding\.weight'", **{"quantize.embedding.weight": None}
    )
    refused("65 wide; expected a multiple of 64", **{"encoder.patch_embed.proj.weight": torch.zeros(65, 3, 8, 8)})


@pytest.mark.parametrize("evil", ["evil.pkl", "evil_torch.pkl", "evil_checkpoint.pth"])
def test_unsafe_files_are_refused(evil, tmp_path, monkeypatch):
    monkeypatch.setenv("BEIT_EVIL_MARKER", str(tmp_path / "ran"))
    shutil.copy(GOLDEN / "evil" / evil, tmp_path / "vqkd.pth")
    with pytest.raises(CheckpointError, match="wants to use"):
        VQKD.from_pretrained(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.pth does not exist"):
        VQKD.from_pretrained(tmp_path / "nowhere.pth")
    with pytest.raises(ConfigError, match=r"config\.json does not exist"):
        VQKD.from_pretrained(tmp_path)
