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


@pytest.mark.parametrize("side", [32, 48])
def test_positions_of_patches_as_published(side):
    own = made(beit, "BeitModel").embeddings.patch_embeddings
    positions = torch.randn(1, 16, 32, generator=torch.Generator().manual_seed(1))
    found, grid = own(pixels(side=side), positions)
    as_map = positions.view(1, 4, 4, 32).permute(0, 3, 1, 2)  # the formula of 4.37.2, which 5.x has no more
    resized = torch.nn.functional.interpolate(as_map, size=tuple(grid), mode="bicubic")
    assert_close(found, own(pixels(side=side))[0] + resized.flatten(2).transpose(1, 2))
    assert_close(own(pixels(side=side), resized)[0], found)


def test_the_rate_of_a_drop_path_by_its_published_name():
    drop = made(beit, "BeitModel", drop_path_rate=0.2).train().encoder.layer[1].drop_path
    assert drop.drop_prob == pytest.approx(0.2)
    drop.drop_prob = 1.0
    assert not drop(torch.ones(2, 1, 1)).any()
    assert drop.rate == 1.0


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


def test_sizes_that_parts_have():
    """What is asked of them by whoever replaces parts, or draws attention; the names and values are those of 4.37.2."""
    model = made(beit, "BeitForSemanticSegmentation", pool_scales=[1, 2], pruned_heads={0: [1]})
    patches = model.beit.embeddings.patch_embeddings
    assert (patches.image_size, patches.patch_size, patches.patch_shape) == ((32, 32), (8, 8), (4, 4))
    assert (patches.num_patches, patches.num_channels) == (16, 3)
    first, second = (layer.attention for layer in model.beit.encoder.layer[:2])
    sizes = [
        (part.attention.num_attention_heads, part.attention.attention_head_size, part.attention.all_head_size)
        for part in (first, second)
    ]
    assert sizes == [(3, 8, 24), (4, 8, 32)]
    assert (first.pruned_heads, second.pruned_heads) == ({1}, set())
    second.prune_heads([0, 3])
    assert second.pruned_heads == {0, 3}
    bias = first.attention.relative_position_bias
    assert (bias.window_size, bias.num_relative_distance) == ((4, 4), 52)
    assert bias.relative_position_index[:3, :6].tolist() == [
        [51, 49, 49, 49, 49, 49],
        [50, 24, 23, 22, 21, 17],
        [50, 25, 24, 23, 22, 18],
    ]
    head, auxiliary = model.decode_head, model.auxiliary_head
    assert (head.in_channels, head.channels, head.pool_scales, head.align_corners) == ([32] * 4, 32, [1, 2], False)
    assert (auxiliary.in_channels, auxiliary.channels, auxiliary.in_index) == (32, 256, 2)
    assert (auxiliary.num_convs, auxiliary.concat_input) == (1, False)


def test_parameters_come_in_the_published_order():
    """Optimisers save their state by it."""
    names = [name for name, _ in made(beit).beit.encoder.layer[0].named_parameters()]
    own = "attention.attention"
    assert names == [
        "lambda_1", "lambda_2", f"{own}.query.weight", f"{own}.query.bias", f"{own}.key.weight", f"{own}.value.weight",
        f"{own}.value.bias", f"{own}.relative_position_bias.relative_position_bias_table",
        "attention.output.dense.weight", "attention.output.dense.bias", "intermediate.dense.weight",
        "intermediate.dense.bias", "output.dense.weight", "output.dense.bias", "layernorm_before.weight",
        "layernorm_before.bias", "layernorm_after.weight", "layernorm_after.bias",
    ]  # fmt: skip
    first = next(name for name, _ in made(beit, "BeitForSemanticSegmentation").decode_head.named_parameters())
    assert first == "classifier.weight"
