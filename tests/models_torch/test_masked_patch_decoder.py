"""The decoder of masked patches, behind an encoder that sees the visible ones only."""

import copy

import pytest
import torch

from beit import BeitForMaskedImageModeling, preset
from beit.errors import CheckpointError, ConfigError
from beit.models_torch import MaskedPatchDecoder
from beit.models_torch.masked_patch_decoder import DECODER_NAME, DecodedModel
from tests.conftest import TINY_MODEL

ABSOLUTE = {"use_absolute_position_embeddings": True, "use_shared_relative_position_bias": False}
MASKED = 5


def made(**options):
    torch.manual_seed(0)
    common = {"num_hidden_layers": 3, "drop_path_rate": 0.0, "vocab_size": 20, "layer_scale_init_value": 0.1}
    model = BeitForMaskedImageModeling(preset("tiny", **{**TINY_MODEL, **common, **ABSOLUTE, **options}))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture
def model():
    return made()


def inputs(model, pictures=3):
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(pictures, 3, *model.config.image_hw, generator=generator)
    order = torch.rand(pictures, model.beit.embeddings.grid.patches, generator=generator).argsort(dim=1)
    return pixels, order < MASKED


def one_by_one(decoder, model, pixels, mask):
    """Return the logits as the papers have it: encode what is visible, put it back into its places, decode, predict."""
    embeddings, found = model.beit.embeddings, []
    for one, hidden in zip(pixels, mask, strict=True):
        tokens = embeddings(one[None])[0][0]
        cls, patches = tokens[:1], tokens[1:]
        encoded = torch.cat((cls, patches[~hidden]))[None]
        for layer in model.beit.encoder.layer:
            encoded, _ = layer(encoded)
        whole = embeddings.mask_token[0] + embeddings.position_embeddings[0]
        whole[torch.cat((torch.tensor([True]), ~hidden))] = encoded[0]
        whole = whole[None]
        for layer in decoder.encoder.layer:
            whole, _ = layer(whole)
        found.append(model.lm_head(model.layernorm(model.beit.layernorm(whole[0, 1:][hidden]))))
    return torch.cat(found)


@pytest.mark.parametrize("mean_pooling", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
def test_it_predicts_from_the_encoding_of_visible_patches(layers, mean_pooling):
    """arXiv 2112.10740, section 3, and arXiv 2111.06377, section 3."""
    model = made(use_mean_pooling=mean_pooling)
    decoder = MaskedPatchDecoder(model, layers).eval()
    pixels, mask = inputs(model)
    with torch.no_grad():
        logits = decoder(model, pixels, mask)
        expected = one_by_one(decoder, model, pixels, mask)
        places = mask.int().argsort(dim=1, descending=True, stable=True)[:, :MASKED]
        torch.testing.assert_close(decoder(model, pixels, mask, places), logits)
    assert logits.shape == (3 * MASKED, 20)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_it_sees_nothing_of_what_is_masked(model):
    decoder = MaskedPatchDecoder(model).eval()
    pixels, mask = inputs(model)
    grid, (height, width) = model.beit.embeddings.grid, model.config.patch_hw
    hidden = mask.view(-1, 1, *grid).repeat_interleave(height, 2).repeat_interleave(width, 3)
    with torch.no_grad():
        logits, others = (decoder(model, each, mask) for each in (pixels, pixels.masked_fill(hidden, 7.0)))
        assert not torch.allclose(logits, decoder(model, pixels.masked_fill(~hidden, 7.0), mask))
    torch.testing.assert_close(logits, others)


def test_pictures_of_another_size(model):
    decoder = MaskedPatchDecoder(model).eval()
    grid, (height, width) = model.beit.embeddings.grid, model.config.patch_hw
    pixels = torch.randn(2, 3, (grid.height + 1) * height, grid.width * width)
    mask = torch.zeros(2, grid.height + 1, grid.width, dtype=torch.bool)
    mask[:, 0] = True
    with torch.no_grad():
        assert decoder(model, pixels, mask).shape == (2 * grid.width, 20)


@pytest.mark.parametrize("recompute", [False, True])
def test_every_parameter_learns(model, recompute):
    """Processes that share gradients wait for all of them; layers that are computed again give the same ones."""
    decoder = MaskedPatchDecoder(model)
    plain = copy.deepcopy(torch.nn.ModuleList((model, decoder))).train()
    both = torch.nn.ModuleList((model, decoder)).train()
    if recompute:
        model.gradient_checkpointing_enable()
        decoder.encoder.gradient_checkpointing = True
    pixels, mask = inputs(model)
    for one, head in (both, plain):
        head(one, pixels, mask).square().sum().backward()
    for (name, parameter), (_, other) in zip(both.named_parameters(), plain.named_parameters(), strict=True):
        assert parameter.grad.abs().max() > 0, name
        torch.testing.assert_close(parameter.grad, other.grad)


def test_mask_tokens_are_those_of_a_picture_that_is_all_masked(model):
    embeddings = model.beit.embeddings
    pixels, mask = inputs(model)
    expected, grid = embeddings(pixels[:1], torch.ones_like(mask[:1]))
    torch.testing.assert_close(embeddings.mask_tokens(grid), expected[:, 1:])
    embeddings.mask_token = None
    with pytest.raises(ConfigError, match="without a mask token"):
        embeddings.mask_tokens(grid)


def test_masks_of_different_counts_are_refused(model):
    decoder = MaskedPatchDecoder(model)
    pixels, mask = inputs(model)
    mask[0] = False
    with pytest.raises(ConfigError, match=rf"hide \[0, {MASKED}\] patches; expected as many of every picture"):
        decoder(model, pixels, mask)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_shared_relative_position_bias": True}, "relative position biases.*--model.positions absolute"),
        ({"use_relative_position_bias": True}, "relative position biases.*--model.positions absolute"),
        ({"use_absolute_position_embeddings": False}, "no positions; expected absolute"),
    ],
)
def test_other_positions_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        MaskedPatchDecoder(made(**options))


def test_no_layers_are_refused(model):
    with pytest.raises(ConfigError, match="0 layers; expected at least 1"):
        MaskedPatchDecoder(model, 0)


@pytest.mark.parametrize("layers", [1, 2])
def test_it_predicts_the_same_from_its_file(model, layers, tmp_path):
    decoder = MaskedPatchDecoder(model, layers).eval()
    decoder.save_file(tmp_path / DECODER_NAME)
    again = DecodedModel(model, MaskedPatchDecoder.from_file(model, tmp_path / DECODER_NAME).eval())
    assert again.device == model.device
    torch.testing.assert_close(again.masked_logits(*inputs(model)), decoder(model, *inputs(model)), rtol=0, atol=0)


def test_the_file_of_another_model_is_refused(model, tmp_path):
    MaskedPatchDecoder(made(intermediate_size=48)).save_file(tmp_path / DECODER_NAME)
    with pytest.raises(CheckpointError, match=r"decoder\.safetensors.*intermediate"):
        MaskedPatchDecoder.from_file(model, tmp_path / DECODER_NAME)
    with pytest.raises(CheckpointError, match="cannot be read"):
        MaskedPatchDecoder.from_file(model, tmp_path / "missing.safetensors")


def test_a_decoder_has_the_heads_that_its_model_has_lost():
    decoder = MaskedPatchDecoder(made(pruned_heads={0: [1]}))
    assert decoder.encoder.layer[0].attention.pruned_heads == set()
