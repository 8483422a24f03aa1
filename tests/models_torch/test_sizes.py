"""Pictures of another size than the model: positions are resampled at run time, as a direct formula says."""

import pytest
import torch
from torch.nn import functional

from beit import BeitConfig, BeitModel
from beit.errors import ConfigError
from beit.geometry import Grid, relative_position_index
from beit.models_torch.attention import position_index
from tests.conftest import GOLDEN, TINY_MODEL

SHORT = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
SIZES_224 = [(384, 384), (224, 112), (112, 224)]


@pytest.mark.parametrize("grid", [Grid(1, 1), Grid(2, 5), Grid(14, 14), Grid(7, 3)])
def test_both_position_indices_are_the_same(grid):
    assert torch.equal(position_index(grid), torch.from_numpy(relative_position_index(grid)))


def direct(model, pixels):
    """The model written out for one size: a convolution, a stretched table, softmax attention."""
    config = model.config
    embeddings, encoder = model.embeddings, model.encoder
    projection = embeddings.patch_embeddings.projection
    patches = functional.conv2d(pixels, projection.weight, projection.bias, stride=16)
    height, width = patches.shape[2:]
    tokens = torch.cat((embeddings.cls_token.expand(len(pixels), -1, -1), patches.flatten(2).transpose(1, 2)), dim=1)
    if embeddings.position_embeddings is not None:
        square = embeddings.position_embeddings[:, 1:].view(1, 14, 14, -1).permute(0, 3, 1, 2)
        stretched = functional.interpolate(square, size=(height, width), mode="bicubic", align_corners=False)
        own = torch.cat((embeddings.position_embeddings[:, :1], stretched.permute(0, 2, 3, 1).flatten(1, 2)), dim=1)
        tokens = tokens + own

    def bias_of(table):
        square = table[:-3].T.view(1, -1, 27, 27)
        size = (2 * height - 1, 2 * width - 1)
        stretched = functional.interpolate(square, size=size, mode="bilinear", align_corners=False)[0]
        bias = torch.empty(config.num_attention_heads, 1 + height * width, 1 + height * width)
        for query in range(height * width):  # its offset to a key goes down as the key's row and column go up
            row, column = divmod(query, width)
            around = stretched[:, row : row + height, column : column + width].flip(1, 2)
            bias[:, 1 + query, 1:] = around.flatten(1)
        bias[:, 0, :], bias[:, :, 0] = table[-3][:, None], table[-2][:, None]
        bias[:, 0, 0] = table[-1]
        return bias

    def of_module(owner):
        bias = owner.relative_position_bias
        return bias_of(bias.relative_position_bias_table) if bias is not None else 0.0

    shared = of_module(encoder)
    for layer in encoder.layer:
        norm = layer.layernorm_before
        normed = functional.layer_norm(tokens, (tokens.shape[-1],), norm.weight, norm.bias, config.layer_norm_eps)
        own = layer.attention.attention
        query = normed @ own.query.weight.T + own.query.bias
        key, value = normed @ own.key.weight.T, normed @ own.value.weight.T + own.value.bias
        bias = shared + of_module(own)
        parts = [part.unflatten(-1, (config.num_attention_heads, -1)).transpose(1, 2) for part in (query, key, value)]
        scores = parts[0] @ parts[1].transpose(-1, -2) / parts[0].shape[-1] ** 0.5 + bias
        context = (scores.softmax(-1) @ parts[2]).transpose(1, 2).flatten(2)
        tokens = tokens + layer.lambda_1 * layer.attention.output.dense(context)
        tokens = tokens + layer.lambda_2 * layer.output(layer.intermediate(layer.layernorm_after(tokens)))
    return model.layernorm(tokens)


@pytest.mark.parametrize("size", SIZES_224)
@pytest.mark.parametrize("kind", ["per layer", "shared and absolute"])
def test_a_224_model_at_other_sizes(size, kind):
    torch.manual_seed(0)
    shared = kind != "per layer"
    model = BeitModel(
        BeitConfig(**SHORT, use_relative_position_bias=not shared, use_shared_relative_position_bias=shared,
                   use_absolute_position_embeddings=shared, layer_norm_eps=1e-6)
    ).eval()  # fmt: skip
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    pixels = torch.randn(1, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(model(pixels).last_hidden_state, direct(model, pixels), atol=2e-4, rtol=1e-4)


def test_gradients_reach_the_tables_at_another_size():
    model = BeitModel(BeitConfig(**TINY_MODEL, use_relative_position_bias=True, use_absolute_position_embeddings=True))
    model(torch.randn(1, 3, 40, 56)).pooler_output.square().sum().backward()
    assert model.embeddings.position_embeddings.grad.abs().sum() > 0
    table = model.get_parameter(
        "encoder.layer.0.attention.attention.relative_position_bias.relative_position_bias_table"
    )
    assert table.grad.abs().sum() > 0


def test_other_sizes_can_be_refused():
    model = BeitModel.from_pretrained(GOLDEN / "hf_v4/model_mean")
    with pytest.raises(ConfigError, match="40 x 40 pixels, the model's own size is 32 x 32; resize them or"):
        model(torch.zeros(1, 3, 40, 40), interpolate_pos_encoding=False)
    model(torch.zeros(1, 3, 32, 32), interpolate_pos_encoding=False)


@pytest.mark.parametrize("method", ["cubic", "linear", "bilinear"])
def test_conversion_to_another_size_names_its_method(method):
    model = BeitModel.from_pretrained(GOLDEN / "hf_v4/model_mean", image_size=(48, 40), bias_resize=method)
    assert model.config.image_size == [48, 40]
    assert "from 4 x 4 to 6 x 5 patches by " in str(model.load_report)
    names = {"cubic": "the authors' cubic method", "linear": "timm's linear", "bilinear": "bilinear interpolation"}
    assert names[method] in str(model.load_report)
    assert model.load_report.resized == [
        f"encoder.layer.{layer}.attention.attention.relative_position_bias.relative_position_bias_table"
        for layer in (0, 1)
    ]


def test_bilinear_conversion_is_what_happens_at_run_time():
    """A model converted bilinearly gives at its new size what the unconverted one gives there."""
    folder = GOLDEN / "hf_v4/model_mean"
    pixels = torch.randn(2, 3, 48, 24)
    with torch.no_grad():
        at_run_time = BeitModel.from_pretrained(folder)(pixels).last_hidden_state
        converted = BeitModel.from_pretrained(folder, image_size=[48, 24], bias_resize="bilinear")
        torch.testing.assert_close(converted(pixels).last_hidden_state, at_run_time, atol=1e-5, rtol=1e-4)
