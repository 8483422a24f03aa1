"""Options inferred from the shapes of tensors alone."""

import pytest

from beit.errors import CheckpointError
from beit.weights.infer_config import inferred_options

TABLE = "relative_position_bias.relative_position_bias_table"


def shapes(hidden=768, layers=12, patch=(16, 16), grid=14, **more):
    """The shapes of an encoder with one bias table per layer."""
    found = {"beit.embeddings.patch_embeddings.projection.weight": (hidden, 3, *patch)}
    for layer in range(layers):
        found[f"beit.encoder.layer.{layer}.intermediate.dense.weight"] = (4 * hidden, hidden)
        found[f"beit.encoder.layer.{layer}.attention.attention.{TABLE}"] = ((2 * grid - 1) ** 2 + 3, hidden // 64)
    return found | {f"beit.{name.replace('__', '.')}": shape for name, shape in more.items()}


def without_tables(found):
    return {name: shape for name, shape in found.items() if not name.endswith("table")}


def test_a_plain_encoder():
    assert inferred_options("x", shapes(), {}) == {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "intermediate_size": 3072,
        "num_channels": 3,
        "patch_size": 16,
        "use_mask_token": False,
        "use_absolute_position_embeddings": False,
        "use_shared_relative_position_bias": False,
        "use_relative_position_bias": True,
        "use_mean_pooling": True,
        "layer_norm_eps": 1e-6,
        "layer_scale_init_value": 0.0,
        "num_attention_heads": 12,
        "image_size": 224,
    }


def test_what_the_encoder_holds_besides():
    found = shapes(embeddings__mask_token=(1, 1, 768), layernorm__weight=(768,), encoder__layer__0__lambda_1=(768,))
    options = inferred_options("x", found, {})
    assert options["use_mask_token"] is True
    assert options["use_mean_pooling"] is False
    assert options["layer_scale_init_value"] == 0.1
    large = shapes(hidden=1024, layers=24, encoder__layer__0__lambda_1=(1024,))
    assert inferred_options("x", large, {})["layer_scale_init_value"] == 1e-5


def test_a_shared_bias():
    found = without_tables(shapes()) | {f"beit.encoder.{TABLE}": (27**2 + 3, 12)}
    options = inferred_options("x", found, {})
    assert (options["use_shared_relative_position_bias"], options["use_relative_position_bias"]) == (True, False)
    assert (options["num_attention_heads"], options["image_size"]) == (12, 224)


def test_absolute_positions():
    found = without_tables(shapes(hidden=384, embeddings__position_embeddings=(1, 1 + 16 * 16, 384)))
    options = inferred_options("x", found, {})
    assert options["use_absolute_position_embeddings"] is True
    assert options["image_size"] == 256
    assert options["num_attention_heads"] == 6  # the model of that width


def test_patches_that_are_not_square():
    options = inferred_options("x", shapes(patch=(8, 16), grid=4), {})
    assert options["patch_size"] == [8, 16]
    assert options["image_size"] == [32, 64]


def test_hints_win():
    options = inferred_options("x", shapes(), {"image_size": [224, 112], "num_attention_heads": 3})
    assert (options["image_size"], options["num_attention_heads"]) == ([224, 112], 3)


def test_heads():
    assert inferred_options("x", shapes() | {"lm_head.weight": (8192, 768)}, {})["vocab_size"] == 8192
    assert inferred_options("x", shapes() | {"classifier.weight": (21, 768)}, {})["num_labels"] == 21


@pytest.mark.parametrize(("layers", "blocks"), [(12, [3, 5, 7, 11]), (24, [7, 11, 15, 23]), (6, None)])
def test_a_segmentation_head(layers, blocks):
    found = shapes(layers=layers) | {"decode_head.classifier.weight": (150, 512, 1, 1)}
    options = inferred_options("x", found, {})
    assert options["num_labels"] == 150
    assert options["out_indices_meaning"] == "original"
    assert options.get("out_indices") == blocks
    assert options["use_auxiliary_head"] is False
    assert "auxiliary_channels" not in options
    found |= {
        "auxiliary_head.classifier.weight": (150, 256, 1, 1),
        "auxiliary_head.convs.0.conv.weight": (256, 768, 3, 3),
        "auxiliary_head.convs.1.conv.weight": (256, 256, 3, 3),
        "auxiliary_head.convs.1.bn.weight": (256,),
    }
    options = inferred_options("x", found, {})
    assert options["use_auxiliary_head"] is True
    assert (options["auxiliary_channels"], options["auxiliary_num_convs"]) == (256, 2)
    assert options["auxiliary_concat_input"] is False
    found["auxiliary_head.conv_cat.conv.weight"] = (256, 1024, 3, 3)
    assert inferred_options("x", found, {})["auxiliary_concat_input"] is True


LAYER_TABLE = f"beit.encoder.layer.0.attention.attention.{TABLE}"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({}, "x holds no patch embedding; it is not a BEiT"),
        (shapes() | {"beit.embeddings.patch_embeddings.projection.weight": (768, 768)}, "x holds no patch embedding"),
        (shapes(layers=0), "x holds no encoder layers; it is not a BEiT"),
        (without_tables(shapes(hidden=100)), "shows no number of attention heads; hidden_size is 100"),
        (without_tables(shapes()), "x shows no square patch grid"),
        (shapes() | {LAYER_TABLE: (27 * 29 + 3, 12)}, "x shows no square patch grid"),  # a grid of 14 x 15
        (shapes() | {LAYER_TABLE: (26**2 + 3, 12)}, "x shows no square patch grid"),  # no grid has 26 offsets
        (shapes() | {LAYER_TABLE: (1, 12)}, "x shows no square patch grid"),
        (shapes(embeddings__position_embeddings=(1, 1 + 14 * 15, 768)), "x shows no square patch grid"),
    ],
)
def test_what_the_tensors_do_not_show(found, message):
    with pytest.raises(CheckpointError, match=message):
        inferred_options("x", found, {})
