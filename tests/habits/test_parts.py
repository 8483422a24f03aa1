"""Parts of a model called on their own, by the arguments that they have in transformers 4.37.2."""

import pytest
import torch

import beit
from beit.errors import ConfigError
from tests.habits.pairs import assert_close, made, pixels

TOKENS = torch.randn(2, 17, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    model = made(beit, "BeitModel", num_hidden_layers=3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_layers_one_after_the_other_are_the_encoder(model):
    states, grid = model.embeddings(pixel_values=pixels())
    expected = model(pixels(), output_hidden_states=True).hidden_states
    assert tuple(grid) == (4, 4)
    for layer, after in zip(model.encoder.layer, expected[1:], strict=True):
        states = layer(states)[0]
        assert_close(states, after)
    assert_close(model.pooler(hidden_states=model.layernorm(states)), model(pixels()).pooler_output)


def test_an_encoder_by_keywords(model):
    output = model.encoder(
        hidden_states=TOKENS, head_mask=None, output_attentions=True, output_hidden_states=True, return_dict=True
    )
    assert len(output.hidden_states) == 4
    assert [maps.shape for maps in output.attentions] == [(2, 4, 17, 17)] * 3
    last, states, maps = model.encoder(TOKENS, [None] * 3, True, True, False)
    assert_close(last, output.last_hidden_state)
    assert_close(states[1], output.hidden_states[1])
    assert_close(maps[2], output.attentions[2])


@pytest.mark.parametrize("part", ["attention", "attention.attention", ""])
def test_a_layer_by_keywords(model, part):
    layer = model.encoder.layer[0].get_submodule(part)
    bias, mask = torch.randn(4, 17, 17), torch.tensor([1.0, 0.0, 1.0, 1.0])
    one = layer(hidden_states=TOKENS, head_mask=mask, output_attentions=True, relative_position_bias=bias)
    other = layer(TOKENS, mask.view(1, 4, 1, 1), True, bias[None])
    assert_close(one[0], other[0])
    assert_close(one[1], other[1])
    assert not one[1][:, 1].any()
    assert (layer(TOKENS)[0] - layer(TOKENS, relative_position_bias=bias)[0]).abs().max() > 1e-3


def test_the_smaller_parts_by_keywords(model):
    layer = model.encoder.layer[0]
    wide = layer.intermediate(hidden_states=TOKENS)
    assert layer.output(hidden_states=wide).shape == TOKENS.shape
    context = layer.attention.output(hidden_states=TOKENS, input_tensor=TOKENS, gamma=None)
    assert_close(context, layer.attention.output(TOKENS, TOKENS))
    table = layer.attention.attention.relative_position_bias
    assert table().shape == (1, 4, 17, 17)
    patches, _ = model.embeddings.patch_embeddings(pixels(), torch.ones(1, 32, 4, 4))
    assert_close(patches - 1, model.embeddings.patch_embeddings(pixel_values=pixels())[0])


def test_a_shared_bias_is_passed_on():
    model = made(beit, "BeitModel", use_relative_position_bias=False, use_shared_relative_position_bias=True)
    torch.nn.init.normal_(model.encoder.relative_position_bias.relative_position_bias_table)
    states, expected = TOKENS, model.encoder(TOKENS).last_hidden_state
    for layer in model.encoder.layer:
        states = layer(states, relative_position_bias=model.encoder.relative_position_bias())[0]
    assert_close(states, expected)


def test_tokens_of_another_grid_need_positions(model):
    layer, tokens = model.encoder.layer[0], torch.randn(1, 26, 32)
    with pytest.raises(ConfigError, match=r"there are 26 tokens; expected 17, .* or positions="):
        layer(tokens)
    _, grid = model.embeddings(pixels(1, 40))
    positions, _ = model.encoder.relative_positions(grid, tokens.device)
    assert layer(tokens, positions=positions)[0].shape == tokens.shape
