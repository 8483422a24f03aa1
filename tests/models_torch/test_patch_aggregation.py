"""The second pre-training head of BEiT v2."""

import pytest
import torch
from torch.nn import functional

from beit import BeitForMaskedImageModeling, preset
from beit.errors import ConfigError
from beit.models_torch import PatchAggregation
from tests.conftest import TINY_MODEL


@pytest.fixture
def model():
    torch.manual_seed(0)
    options = {"num_hidden_layers": 3, "drop_path_rate": 0.0, "vocab_size": 20, "layer_scale_init_value": 0.1}
    made = BeitForMaskedImageModeling(preset("tiny", **{**TINY_MODEL, **options})).eval()
    torch.nn.init.normal_(made.beit.encoder.bias.table)
    return made


def inputs(model):
    generator = torch.Generator().manual_seed(1)
    height, width = model.config.image_hw
    pixels = torch.randn(2, 3, height, width, generator=generator)
    patches = model.beit.embeddings.grid.patches
    return pixels, torch.rand(2, patches, generator=generator) < 0.4


def plain_layer(layer, tokens_BSD, bias_HSS):
    """Return what one layer does, written out: norm, attention with the shared bias, norm, feed-forward."""
    normed = functional.layer_norm(tokens_BSD, tokens_BSD.shape[-1:], layer.norm_attention.weight,
                                   layer.norm_attention.bias, layer.norm_attention.eps)  # fmt: skip
    attention, heads = layer.attention, layer.attention.heads
    bias = torch.cat((attention.query_bias, torch.zeros_like(attention.query_bias), attention.value_bias))
    query, key, value = (
        part.unflatten(-1, (heads, -1)).transpose(1, 2)
        for part in functional.linear(normed, attention.qkv.weight, bias).chunk(3, dim=-1)
    )
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 + bias_HSS
    mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
    tokens_BSD = tokens_BSD + layer.scale_attention.gamma * attention.output(mixed)
    normed = functional.layer_norm(tokens_BSD, tokens_BSD.shape[-1:], layer.norm_feed_forward.weight,
                                   layer.norm_feed_forward.bias, layer.norm_feed_forward.eps)  # fmt: skip
    hidden = functional.gelu(layer.feed_forward.expand(normed))
    return tokens_BSD + layer.scale_feed_forward.gamma * layer.feed_forward.contract(hidden)


def test_it_sees_early_patches_and_the_last_cls(model):
    """arXiv 2208.06366, section 2.3: [x_CLS of layer L, x of layer l], two layers, the same norm and head."""
    aggregation = PatchAggregation(model, early_layer=2, layers=2).eval()
    pixels, mask = inputs(model)
    with torch.no_grad():
        logits, aggregated = aggregation(model, pixels, mask)
        torch.testing.assert_close(logits, model.masked_logits(pixels, mask))
        states = model.beit(pixels, mask, output_hidden_states=True).hidden_states
        tokens = torch.cat((states[3][:, :1], states[2][:, 1:]), dim=1)
        grid = model.beit.embeddings.grid
        _, bias = model.beit.encoder.relative_positions(grid, pixels.device)
        for layer in aggregation.layers:
            tokens = plain_layer(layer, tokens, bias)
        expected = model.lm_head(model.norm(tokens[:, 1:][mask]))
    torch.testing.assert_close(aggregated, expected, atol=1e-5, rtol=1e-5)


def test_cls_gets_a_gradient_through_it_alone(model):
    """In plain pre-training the last [CLS] has no use; here the aggregated prediction depends on it."""
    aggregation = PatchAggregation(model, early_layer=1)
    pixels, mask = inputs(model)
    last = model.beit.encoder.layers[-1].feed_forward.contract
    kept = {}

    def keep(module, arguments, output):
        output.retain_grad()
        kept["cls"] = output

    last.register_forward_hook(keep)
    logits, aggregated = aggregation(model, pixels, mask)
    logits.sum().backward(retain_graph=True)
    assert kept["cls"].grad[:, 0].abs().max() == 0
    aggregated.square().sum().backward()
    assert kept["cls"].grad[:, 0].abs().max() > 0


def test_its_layers_start_where_the_model_left_off(model):
    """Their outputs are divided by sqrt(2 l) with l = early_layer + 1, ..."""
    torch.manual_seed(3)
    early = PatchAggregation(model, early_layer=1)
    torch.manual_seed(3)
    late = PatchAggregation(model, early_layer=3)
    ratio = early.layers[0].attention.output.weight / late.layers[0].attention.output.weight
    torch.testing.assert_close(ratio, torch.full_like(ratio, (4 / 2) ** 0.5))
    ratio = early.layers[1].feed_forward.contract.weight / late.layers[1].feed_forward.contract.weight
    torch.testing.assert_close(ratio, torch.full_like(ratio, (5 / 3) ** 0.5))


@pytest.mark.parametrize(
    ("early", "layers", "message"), [(0, 2, "expected 1 to 3"), (4, 2, "expected 1 to 3"), (1, 0, "at least 1")]
)
def test_layers_that_are_not_there(model, early, layers, message):
    with pytest.raises(ConfigError, match=message):
        PatchAggregation(model, early, layers)
