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
    torch.nn.init.normal_(made.beit.encoder.relative_position_bias.relative_position_bias_table)
    return made


def inputs(model):
    generator = torch.Generator().manual_seed(1)
    height, width = model.config.image_hw
    pixels = torch.randn(2, 3, height, width, generator=generator)
    patches = model.beit.embeddings.grid.patches
    return pixels, torch.rand(2, patches, generator=generator) < 0.4


def plain_layer(layer, tokens_BSD, bias_HSS):
    """Return what one layer does, written out: norm, attention with the shared bias, norm, feed-forward."""
    normed = functional.layer_norm(tokens_BSD, tokens_BSD.shape[-1:], layer.layernorm_before.weight,
                                   layer.layernorm_before.bias, layer.layernorm_before.eps)  # fmt: skip
    own = layer.attention.attention
    query, key, value = (
        functional.linear(normed, part.weight, part.bias).unflatten(-1, (own.heads, -1)).transpose(1, 2)
        for part in (own.query, own.key, own.value)
    )
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 + bias_HSS
    mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
    tokens_BSD = tokens_BSD + layer.lambda_1 * layer.attention.output.dense(mixed)
    normed = functional.layer_norm(tokens_BSD, tokens_BSD.shape[-1:], layer.layernorm_after.weight,
                                   layer.layernorm_after.bias, layer.layernorm_after.eps)  # fmt: skip
    hidden = functional.gelu(layer.intermediate.dense(normed))
    return tokens_BSD + layer.lambda_2 * layer.output.dense(hidden)


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
        expected = model.lm_head(model.layernorm(tokens[:, 1:][mask]))
    torch.testing.assert_close(aggregated, expected, atol=1e-5, rtol=1e-5)


def test_cls_gets_a_gradient_through_it_alone(model):
    """In plain pre-training the last [CLS] has no use; here the aggregated prediction depends on it."""
    aggregation = PatchAggregation(model, early_layer=1)
    pixels, mask = inputs(model)
    last = model.beit.encoder.layer[-1].output.dense
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
    ratio = early.layers[0].attention.output.dense.weight / late.layers[0].attention.output.dense.weight
    torch.testing.assert_close(ratio, torch.full_like(ratio, (4 / 2) ** 0.5))
    ratio = early.layers[1].output.dense.weight / late.layers[1].output.dense.weight
    torch.testing.assert_close(ratio, torch.full_like(ratio, (5 / 3) ** 0.5))


@pytest.mark.parametrize(
    ("early", "layers", "message"), [(0, 2, "expected 1 to 3"), (4, 2, "expected 1 to 3"), (1, 0, "at least 1")]
)
def test_layers_that_are_not_there(model, early, layers, message):
    with pytest.raises(ConfigError, match=message):
        PatchAggregation(model, early, layers)
