"""VQ-KD as every tokenizer: sizes, tokens, precision, files, and what does not fit."""

import json

import pytest
import torch

from beit.errors import CheckpointError, ConfigError
from beit.tokenizer.vq_kd import VQKD, map_pixels
from beit.tokenizer.vq_kd_config import VQKDConfig
from tests.tokenizer.small import SMALL


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
