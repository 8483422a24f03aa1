import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from beit.errors import CheckpointError, ConfigError
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, codebook_usage, count_tokens, map_pixels, unmap_pixels
from beit.tokenizer.loss import reconstruction_loss, token_divergences

SMALL = DiscreteVAEConfig(vocab_size=32, hidden_size=8, blocks_per_group=1, groups=3, decoder_input_size=8)


@pytest.fixture
def tokenizer():
    torch.manual_seed(0)
    return DiscreteVAE(SMALL).eval()


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_shapes_at_any_size(groups, blocks, height, width):
    model = DiscreteVAE(DiscreteVAEConfig(16, 4, blocks, groups, 4))
    patch = 2 ** (groups - 1)
    pixels = torch.rand(2, 3, height * patch, width * patch)
    tokens = model.encode(pixels)
    assert tokens.shape == (2, height, width)
    assert tokens.dtype == torch.int64
    assert 0 <= tokens.min() <= tokens.max() < 16
    decoded = model.decode(tokens)
    assert decoded.shape == pixels.shape
    assert 0 <= decoded.min() <= decoded.max() <= 1


def test_published_size():
    with torch.device("meta"):
        model = DiscreteVAE(DiscreteVAEConfig())
    assert sum(p.numel() for p in model.encoder.parameters()) == pytest.approx(53.8e6, rel=1e-3)
    assert model.config.patch_size == 8


def test_near_zero_temperature_decodes_the_hard_tokens(tokenizer):
    pixels = torch.rand(1, 3, 8, 8)
    torch.manual_seed(1)
    decoded, logits = tokenizer(pixels, temperature=1e-4)
    torch.manual_seed(1)
    gumbel = torch.nn.functional.gumbel_softmax(logits, tau=1e-4, dim=1)
    torch.testing.assert_close(tokenizer.decode(gumbel.argmax(1)), tokenizer.pixels(decoded), atol=1e-3, rtol=1e-3)


def test_saved_and_loaded_it_is_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "new")
    again = DiscreteVAE.from_pretrained(tmp_path / "new")
    pixels = torch.rand(2, 3, 16, 8)
    assert again.config == SMALL
    assert torch.equal(again.logits(pixels), tokenizer.logits(pixels))
    assert not again.training


def test_weights_of_another_size_are_refused(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    DiscreteVAEConfig(vocab_size=16, hidden_size=8, blocks_per_group=1, groups=3, decoder_input_size=8).save_pretrained(
        tmp_path
    )
    with pytest.raises(CheckpointError, match=r"2 of another shape|3 of another shape"):
        DiscreteVAE.from_pretrained(tmp_path)


@pytest.mark.parametrize("shape", [(1, 3, 9, 8), (1, 1, 8, 8), (3, 8, 8)])
def test_pixels_that_do_not_fit(tokenizer, shape):
    with pytest.raises(ConfigError, match="multiples of 4"):
        tokenizer.encode(torch.zeros(shape))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not readable JSON"),
        ('{"model_type": "beit"}', "'beit'; expected a tokenizer"),
        ("[1]", "expected the config.json of a tokenizer"),
        ('{"model_type": "beit-dvae", "hiden_size": 3}', r"unknown keys \['hiden_size'\]"),
        ('{"model_type": "beit-dvae", "groups": 0}', "groups is 0"),
    ],
)
def test_bad_configs(tmp_path, content, message):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        DiscreteVAEConfig.from_pretrained(tmp_path)


def test_missing_folder(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        DiscreteVAE.from_pretrained(tmp_path / "nowhere")


def test_mapped_pixels_come_back():
    pixels = torch.rand(100)
    torch.testing.assert_close(unmap_pixels(map_pixels(pixels)), pixels)
    assert map_pixels(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0.1, 0.9])


def test_logit_laplace_is_the_negative_log_density():
    """arXiv 2102.12092, equation 4, and a density that integrates to one."""
    grid = torch.linspace(1e-4, 1 - 1e-4, 200_001, dtype=torch.float64)
    location, log_scale = 0.3, -0.5
    density = (-(torch.logit(grid) - location).abs() / math.exp(log_scale)).exp() / (
        2 * math.exp(log_scale) * grid * (1 - grid)
    )
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-3)
    pixels = torch.tensor([[[[0.25]]]])
    decoded = torch.tensor([[[[location]], [[log_scale]]]])
    at = 0.1 + 0.8 * 0.25
    expected = -math.log(
        math.exp(-abs(math.log(at / (1 - at)) - location) / math.exp(log_scale))
        / (2 * math.exp(log_scale) * at * (1 - at))
    )
    assert reconstruction_loss("logit_laplace", decoded, pixels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_perfect_pixels_have_no_loss(kind):
    pixels = torch.rand(1, 3, 4, 4)
    decoded = torch.cat((torch.logit(map_pixels(pixels)), torch.zeros(1, 3, 4, 4)), dim=1)
    assert reconstruction_loss(kind, decoded, pixels).item() == pytest.approx(0, abs=1e-6)


def test_kl_to_uniform():
    assert token_divergences(torch.zeros(1, 7, 2, 2))[0].item() == pytest.approx(0, abs=1e-6)
    certain = torch.zeros(1, 7, 2, 2)
    certain[:, 3] = 1e4
    assert token_divergences(certain)[0].item() == pytest.approx(math.log(7), rel=1e-5)


def test_imbalance_looks_at_the_mean_token_only():
    certain = torch.full((1, 4, 2, 2), -1e4)
    certain[0, torch.arange(4), torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])] = 0
    kl, imbalance = token_divergences(certain)
    assert imbalance.item() == pytest.approx(0, abs=1e-6), "each code once"
    assert kl.item() == pytest.approx(math.log(4))
    certain[:] = torch.tensor([0, -1e4, -1e4, -1e4]).view(1, 4, 1, 1)
    assert token_divergences(certain)[1].item() == pytest.approx(math.log(4)), "always the same code"


def test_codebook_usage():
    usage = codebook_usage(count_tokens(torch.tensor([[0, 1], [1, 0]]), 5))
    assert usage == codebook_usage(count_tokens(torch.tensor([[0, 1], [1, 0]], dtype=torch.int32), 5))
    assert usage.used == 2
    assert usage.perplexity == pytest.approx(2)
