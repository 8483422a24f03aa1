"""Attention heads that are taken out, as models of transformers 4.37.2 have it, with the relative position bias too."""

import pytest
import torch
from torch import nn

import beit
from beit.models_torch.conversion import convert
from tests.habits.pairs import OPTIONS, assert_close, made, pixels

BIASES = {
    "none": {"use_relative_position_bias": False},
    "own": {},
    "shared": {"use_relative_position_bias": False, "use_shared_relative_position_bias": True},
    "both": {"use_shared_relative_position_bias": True},
}
GONE = {0: [1], 1: [0, 2]}


def model_of(bias="own", name="BeitForImageClassification", **options):
    model = made(beit, name, num_attention_heads=4, **BIASES[bias] | options)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


def mask_of(gone, layers=2, heads=4):
    mask_LH = torch.ones(layers, heads)
    for layer, some in gone.items():
        mask_LH[layer, some] = 0
    return mask_LH


def values(output):
    return output.feature_maps[0] if "feature_maps" in output else output[0]


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("train", [False, True])
def test_the_heads_that_are_left_give_the_same(bias, train):
    model = model_of(bias).train(train)
    expected = model(pixels(), head_mask=mask_of(GONE)).logits
    parameters = model.num_parameters()
    model.prune_heads(GONE)
    assert_close(model(pixels()).logits, expected)
    assert parameters - model.num_parameters() == 3 * (4 * 32 * 8 + 2 * 8)
    model(pixels()).logits.sum().backward()
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if "mask_token" not in name)


@pytest.mark.parametrize("name", OPTIONS)
def test_saved_models_remember(tmp_path, name):
    model = model_of(name=name)
    model.prune_heads({0: [3]})
    model.prune_heads({0: [1, 3], 1: [0]})  # counted as in the whole layer
    assert model.config.pruned_heads == {0: [1, 3], 1: [0]}
    model.save_pretrained(tmp_path)
    loaded = getattr(beit, name).from_pretrained(tmp_path)
    assert loaded.load_report.silent
    assert loaded.config.pruned_heads == model.config.pruned_heads
    inputs = {"bool_masked_pos": torch.ones(2, 16, dtype=torch.bool)} if "Masked" in name else {}
    assert_close(values(loaded(pixels(), **inputs)), values(model(pixels(), **inputs)), 0)


def test_maps_and_masks_of_a_pruned_model():
    model, mask_LH = model_of("both"), mask_of({0: [0], 1: [3]})
    expected = model(pixels(), head_mask=mask_LH * mask_of(GONE), output_attentions=True)
    model.prune_heads(GONE)
    found = model(pixels(), head_mask=mask_LH, output_attentions=True)
    assert_close(found.logits, expected.logits)
    assert_close(found.attentions[1], expected.attentions[1][:, [1, 3]])


def test_pictures_of_another_size_and_the_shared_bias_in_layers(tmp_path):
    model = model_of("shared", "BeitForMaskedImageModeling")
    model.prune_heads(GONE)
    model.save_pretrained(tmp_path)
    options = {"use_shared_relative_position_bias": False, "use_relative_position_bias": True}
    other = beit.BeitModel.from_pretrained(tmp_path, image_size=48, **options)
    assert_close(other(pixels(side=48)).last_hidden_state, model.beit(pixels(side=48)).last_hidden_state, 10)
    assert other.config.pruned_heads == GONE


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ({2: [0]}, r"pruned_heads has \[0\] of layer 2; expected layers from 0 to 1 and heads from 0 to 3"),
        ({0: [4]}, r"pruned_heads has \[4\] of layer 0; expected"),
        ({0: [0, 1, 2, 3]}, "pruned_heads has all 4 heads of layer 0; expected that one is kept"),
    ],
)
def test_heads_that_cannot_be_taken_out(gone, message):
    model = model_of()
    before = model.num_parameters()
    with pytest.raises(ValueError, match=message):
        model.prune_heads({1: [0], **gone})
    assert (model.config.pruned_heads, model.num_parameters()) == ({}, before)


def test_what_has_all_heads(tmp_path):
    config = model_of().config
    config.update({"pruned_heads": {"0": [1]}})
    with pytest.raises(ValueError, match="models in JAX have all heads, load it in PyTorch"):
        beit.FlaxBeitForImageClassification(config)
    beit.BeitForImageClassification(config).save_pretrained(tmp_path / "pruned")
    for layout in ("timm", "unilm", "flax"):
        with pytest.raises(ValueError, match=f"the layout '{layout}' has all heads, convert to 'hf'"):
            convert(tmp_path / "pruned", tmp_path / "other", layout)
    with pytest.raises(ValueError, match=r"pruned_heads is \[0\]; expected \{layer: \[heads\]\}"):
        beit.BeitConfig(pruned_heads=[0])
