"""VQ-KD against a plain formulation of the published model, and all that a tokenizer has to do."""

import argparse
import copy
import json
import shutil

import pytest
import torch
from torch.nn import functional

from beit.errors import CheckpointError, ConfigError
from beit.tokenizer.vq_kd import VQKD, distillation_loss, map_pixels
from beit.tokenizer.vq_kd_config import VQKDConfig
from tests.conftest import GOLDEN

SMALL = VQKDConfig(
    vocab_size=24,
    code_size=8,
    image_size=32,
    patch_size=8,
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=1,
    intermediate_size=96,
    decoder_layers=1,
    teacher_size=20,
)


# --- The published model, in its own names


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


# --- What every tokenizer does


@pytest.fixture
def tokenizer():
    torch.manual_seed(0)
    return VQKD(SMALL).eval()


def test_published_size():
    """12 + 3 layers of a base model, as in the file of the authors."""
    with torch.device("meta"):
        model = VQKD(VQKDConfig())
    layer = 4 * 768**2 + 2 * 768 * 3072 + 9 * 768 + 3072 - 768  # the key has no bias
    embeddings = (3 * 16**2 + 1 + 32 + 1) * 768 + 2 * (197 + 1) * 768
    heads = 2 * (768**2 + 768) + (768 + 1) * (32 + 512) + 4 * 768
    assert sum(parameter.numel() for parameter in model.parameters()) == 15 * layer + embeddings + heads
    assert model.quantiser.codebook.shape == (8192, 32)


def test_it_is_a_tokenizer(tokenizer):
    assert (tokenizer.vocab_size, tokenizer.stride, tokenizer.decodes_pixels) == (24, 8, False)
    assert tokenizer.map_pixels(torch.tensor([0.0, 0.5, 1.0])).tolist() == [-1, 0, 1]
    assert map_pixels(torch.tensor(1.0)) == 1


@pytest.mark.parametrize("size", [(32, 32), (8, 8), (16, 48), (40, 24), (64, 32)])
def test_pictures_of_any_size(tokenizer, size):
    pixels = torch.rand(2, 3, *size)
    h, w = size[0] // 8, size[1] // 8
    tokens = tokenizer.encode(pixels)
    assert tokens.shape == (2, h, w)
    assert tokens.dtype == torch.int64
    assert 0 <= tokens.min() <= tokens.max() < 24
    assert tokenizer.features(pixels).shape == (2, h, w, 8)
    assert tokenizer.predict_features(tokens).shape == (2, h * w, 20)
    assert tokenizer(pixels).predicted.shape == (2, h * w, 20)


def test_tokens_lie_where_their_patches_do(tokenizer):
    """Without positions and attention every token would depend on its own patch only: change one patch and look."""
    for layer in tokenizer.encoder.encoder.layer:
        torch.nn.init.zeros_(layer.attention.output.dense.weight)
    torch.nn.init.zeros_(tokenizer.encoder.embeddings.position_embeddings)
    pixels = torch.rand(1, 3, 16, 48)
    changed = pixels.clone()
    changed[:, :, 8:16, 24:32] = 0  # row 1, column 3
    moved = (tokenizer.features(pixels) != tokenizer.features(changed)).any(-1)[0]
    assert moved.nonzero().tolist() == [[1, 3]]


def test_the_decoder_predicts_the_same_from_tokens(tokenizer):
    found = tokenizer(torch.rand(2, 3, 16, 24))
    assert torch.equal(tokenizer.predict_features(found.tokens), found.predicted)


def test_encoding_never_moves_the_codebook(tokenizer):
    before = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    tokenizer.train().encode(torch.rand(2, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in tokenizer.state_dict().items())


def test_half_precision_of_the_whole_model(tokenizer):
    tokens = tokenizer.bfloat16().encode(torch.rand(1, 3, 32, 32).bfloat16())
    assert tokenizer.predict_features(tokens).dtype == torch.bfloat16


def test_under_autocast_codes_are_found_in_float32(tokenizer):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert tokenizer.features(torch.rand(1, 3, 32, 32)).dtype == torch.float32
        found = tokenizer(torch.rand(1, 3, 32, 32))
    assert found.commitment.dtype == torch.float32


def test_saved_and_loaded_it_is_the_same_bit_for_bit(tokenizer, tmp_path):
    tokenizer.train()(torch.rand(2, 3, 32, 32))
    tokenizer.save_pretrained(tmp_path / "new")
    state = torch.get_rng_state()
    again = VQKD.from_pretrained(tmp_path / "new")
    assert torch.equal(state, torch.get_rng_state())
    assert again.config == SMALL
    assert not again.training
    own = tokenizer.state_dict()
    assert own.keys() == again.state_dict().keys()
    assert all(torch.equal(value, own[name]) for name, value in again.state_dict().items())


# --- Bad input


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (torch.zeros(3, 32, 32), r"\(3, 32, 32\)"),
        (torch.zeros(1, 1, 32, 32), r"\(1, 1, 32, 32\); expected \(batch, 3, height, width\)"),
        (torch.zeros(1, 3, 33, 32), "multiples of 8"),
        (torch.zeros(1, 3, 32, 4), "multiples of 8"),
        (torch.zeros(1, 3, 0, 32), "at least 8"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "uint8"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.float64), "float64"),
    ],
)
@pytest.mark.parametrize("method", ["encode", "features", "forward"])
def test_pixels_that_do_not_fit(tokenizer, method, pixels, message):
    with pytest.raises(ConfigError, match=message) as error:
        getattr(tokenizer, method)(pixels)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(1, 16, dtype=torch.int64), r"\(1, 16\)"),
        (torch.zeros(1, 4, 4), "float32"),
        (torch.zeros(1, 4, 4, dtype=torch.bool), "bool"),
        (torch.full((1, 4, 4), 24), "between 24 and 24; expected 0 to 23"),
        (torch.full((1, 4, 4), -1), "between -1 and -1"),
        (torch.zeros(1, 0, 4, dtype=torch.int64), "at least one token"),
    ],
)
def test_tokens_that_do_not_fit(tokenizer, tokens, message):
    with pytest.raises(ConfigError, match=message) as error:
        tokenizer.predict_features(tokens)
    assert "\n" not in str(error.value)


def test_it_paints_no_pixels(tokenizer):
    with pytest.raises(ConfigError, match="use predict_features, or a DiscreteVAE for pixels") as error:
        tokenizer.decode(torch.zeros(1, 4, 4, dtype=torch.int64))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 1}, "vocab_size is 1; expected a whole number of at least 2"),
        ({"code_size": 0}, "code_size is 0"),
        ({"hidden_size": 64.0}, "hidden_size is 64.0"),
        ({"decoder_layers": True}, "decoder_layers is True"),
        ({"teacher_size": 2**40}, "teacher_size is 1099511627776; expected .* at most"),
        ({"image_size": 33}, "33 is not a multiple of patch size 8; resize to 32 or 40"),
        ({"num_attention_heads": 3}, "hidden_size 64 is not a multiple of num_attention_heads 3"),
    ],
)
def test_sizes_that_cannot_be_built(options, message):
    with pytest.raises(ConfigError, match=message) as error:
        VQKDConfig(**{**vars(SMALL), **options})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "beit-dvae"}, "'beit-dvae'; expected a tokenizer"),
        ({"heads": 3}, r"unknown keys \['heads'\]"),
        ({"vocab_size": "24"}, "vocab_size is '24'"),
    ],
)
def test_bad_configs(tokenizer, tmp_path, change, message):
    tokenizer.save_pretrained(tmp_path)
    options = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**options, **change}))
    with pytest.raises(ConfigError, match=message):
        VQKD.from_pretrained(tmp_path)


def test_weights_of_another_size_are_refused(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    VQKDConfig(**{**vars(SMALL), "vocab_size": 16}).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"quantiser\.codebook is \(24, 8\), the model has \(16, 8\)"):
        VQKD.from_pretrained(tmp_path)


# --- Training


def test_distillation_loss():
    target = torch.randn(2, 5, 20)
    assert distillation_loss(3 * target, target).item() == pytest.approx(0, abs=1e-6)
    assert distillation_loss(-target, 2 * target).item() == pytest.approx(2, abs=1e-6)
    predicted = torch.randn(2, 5, 20)
    cosines = [
        float(a @ b / (a.norm() * b.norm())) for a, b in zip(predicted.view(10, 20), target.view(10, 20), strict=True)
    ]
    assert distillation_loss(predicted, target).item() == pytest.approx(1 - sum(cosines) / 10, abs=1e-6)
    assert distillation_loss(predicted.bfloat16(), target).dtype == torch.float32
    with pytest.raises(ConfigError, match=r"\(2, 5, 20\), those predicted \(2, 5, 19\)"):
        distillation_loss(predicted[..., :19], target)


def pictures(step):
    """Pictures of flat patches in random colours, and a teacher that sees the colours."""
    generator = torch.Generator().manual_seed(step)
    colours = torch.rand(4, 3, 4, 4, generator=generator)
    project = torch.randn(3, 20, generator=torch.Generator().manual_seed(-1))
    pixels = colours.repeat_interleave(8, 2).repeat_interleave(8, 3)
    return pixels, (colours.flatten(2).transpose(1, 2) - 0.5) @ project


def trained(model, optimiser, steps):
    losses, revived = [], 0
    for step in steps:
        torch.manual_seed(step)
        pixels, target = pictures(step)
        output = model(pixels)
        loss = distillation_loss(output.predicted, target)
        optimiser.zero_grad()
        (loss + output.commitment).backward()
        optimiser.step()
        losses.append(loss.item())
        revived += int(output.revived)
    return losses, revived


def new_run(revive_below):
    torch.manual_seed(0)
    model = VQKD(SMALL).train()
    model.quantiser.initialised.fill_(True)  # no k-means: most codes start where no feature is
    model.quantiser.revive_below, model.quantiser.decay = revive_below, 0.9
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3)


@pytest.mark.e2e
def test_training_lowers_the_loss_and_revival_uses_more_codes():
    used, revivals = {}, {}
    for revive_below in (0.0, 0.2):
        model, optimiser = new_run(revive_below)
        losses, revivals[revive_below] = trained(model, optimiser, range(120))
        assert sum(losses[-10:]) < 0.6 * sum(losses[:10])
        with torch.no_grad():
            used[revive_below] = len(torch.cat([model.encode(pictures(step)[0]) for step in range(900, 905)]).unique())
    assert revivals[0.0] == 0 < revivals[0.2]
    assert used[0.0] < used[0.2]


def test_every_parameter_gets_a_gradient():
    model, _ = new_run(0)
    pixels, target = pictures(0)
    output = model(pixels)
    (distillation_loss(output.predicted, target) + output.commitment).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert model.encoder.embeddings.patch_embeddings.projection.weight.grad.abs().sum() > 0


@pytest.mark.e2e
def test_a_saved_training_goes_on_bit_for_bit(tmp_path):
    model, optimiser = new_run(0.2)
    trained(model, optimiser, range(12))
    model.save_pretrained(tmp_path)
    resumed = VQKD.from_pretrained(tmp_path).train()
    resumed.quantiser.revive_below, resumed.quantiser.decay = 0.2, 0.9
    again = torch.optim.AdamW(resumed.parameters(), lr=1e-3)
    again.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    expected = trained(model, optimiser, range(12, 24))
    assert trained(resumed, again, range(12, 24)) == expected
    assert expected[1] > 0  # codes were revived on the way
    own = model.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in resumed.state_dict().items())
