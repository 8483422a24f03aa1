import inspect

import pytest
import torch

from beit import (
    BeitBackbone,
    BeitConfig,
    BeitForImageClassification,
    BeitForMaskedImageModeling,
    BeitForSemanticSegmentation,
    BeitModel,
    preset,
)
from beit.errors import CheckpointError, ConfigError
from tests.conftest import GOLDEN, TINY_MODEL

NONE = inspect.Parameter.empty
FLAGS = {"output_attentions": None, "output_hidden_states": None, "return_dict": None}
NEW = {
    "interpolate_pos_encoding": True
}  # later than the published version, and last, so that positions keep their places
SIGNATURES = {
    BeitModel: {"pixel_values": None, "bool_masked_pos": None, "head_mask": None, **FLAGS, **NEW},
    BeitForMaskedImageModeling: {
        "pixel_values": None, "bool_masked_pos": None, "head_mask": None, "labels": None, **FLAGS, **NEW,
    },
    BeitForImageClassification: {"pixel_values": None, "head_mask": None, "labels": None, **FLAGS, **NEW},
    BeitForSemanticSegmentation: {"pixel_values": None, "head_mask": None, "labels": None, **FLAGS, **NEW},
    BeitBackbone: {
        "pixel_values": NONE, "output_hidden_states": None, "output_attentions": None, "return_dict": None, **NEW,
    },
}  # fmt: skip
CONSTRUCTORS = {model: {"config": NONE} for model in SIGNATURES} | {
    BeitModel: {"config": NONE, "add_pooling_layer": True}
}


@pytest.fixture
def mim():
    torch.manual_seed(0)
    return BeitForMaskedImageModeling(preset("tiny", **TINY_MODEL, drop_path_rate=0.0)).eval()


@pytest.fixture
def inputs():
    torch.manual_seed(1)
    return torch.randn(2, 3, 32, 32), torch.rand(2, 16) < 0.4


def signature(function):
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


@pytest.mark.parametrize("model", SIGNATURES, ids=lambda model: model.__name__)
def test_signatures_are_the_published_ones(model):
    """Names, order and defaults."""
    assert list(signature(model.forward).items())[1:] == list(SIGNATURES[model].items())
    assert list(signature(model.__init__).items())[1:] == list(CONSTRUCTORS[model].items())
    assert next(iter(signature(model.from_pretrained))) == "pretrained_model_name_or_path"
    assert list(signature(model.save_pretrained))[1:4] == ["save_directory", "is_main_process", "state_dict"]
    assert list(signature(model.num_parameters))[1:] == ["only_trainable", "exclude_embeddings"]


def test_masked_logits_are_the_masked_rows_of_all_logits(mim, inputs):
    pixels, mask = inputs
    torch.testing.assert_close(mim.masked_logits(pixels, mask), mim(pixels, mask).logits[mask])


def test_labels_in_both_documented_forms(mim, inputs):
    pixels, mask = inputs
    labels = torch.randint(64, (2, 16))
    flat, whole = mim(pixels, mask, labels=labels[mask]).loss, mim(pixels, mask, labels=labels).loss
    assert torch.equal(flat, whole)
    assert torch.equal(mim(pixels, mask.long(), labels=labels).loss, whole), "an integer mask means the same"
    assert torch.isfinite(mim(pixels, labels=labels).loss), "without a mask all patches count"


def test_wrong_number_of_labels(mim, inputs):
    pixels, mask = inputs
    with pytest.raises(ConfigError, match="expected one token per masked patch"):
        mim(pixels, mask, labels=torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 3]), "labels run from 0 to 3; expected whole numbers from 0 to 2"),
        (torch.tensor([0, 1, 2]), r"labels have shape \(3,\); expected \(2,\)"),
        (torch.rand(2), r"labels have shape \(2,\); expected \(2, 3\)"),
    ],
)
def test_class_labels_that_do_not_fit(inputs, labels, message):
    model = BeitForImageClassification(BeitConfig(**TINY_MODEL, num_labels=3))
    with pytest.raises(ConfigError, match=message):
        model(inputs[0], labels=labels)


def test_int32_labels(inputs):
    model = BeitForImageClassification(BeitConfig(**TINY_MODEL, num_labels=3)).eval()
    short, long = (
        model(inputs[0], labels=torch.tensor([0, 2], dtype=kind)).loss for kind in (torch.int32, torch.int64)
    )
    assert torch.equal(short, long)


def test_masked_pixels_are_hidden(mim, inputs):
    pixels, mask = inputs
    changed = pixels.clone()
    hidden = mask.view(2, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    changed[hidden.expand_as(pixels)] = 9.0
    assert torch.equal(mim(pixels, mask).logits, mim(changed, mask).logits)


def test_masked_patches_keep_their_absolute_position(inputs):
    """Positions are added after masking; the published 4.37.2 code adds them before, and loses them."""
    pixels, _ = inputs
    config = preset(
        "tiny", **TINY_MODEL, use_absolute_position_embeddings=True, use_shared_relative_position_bias=False
    )
    model = BeitModel(config).eval()
    tokens = model(pixels, torch.ones(2, 16, dtype=torch.bool), output_hidden_states=True).hidden_states[0]
    expected = model.embeddings.mask_token + model.embeddings.position_embeddings[:, 1:]
    torch.testing.assert_close(tokens[:, 1:], expected.expand(2, -1, -1))


@pytest.mark.parametrize("shared", [True, False])
def test_gradient_checkpointing_changes_nothing(inputs, shared):
    pixels, mask = inputs
    config = preset("tiny", **TINY_MODEL, drop_path_rate=0.3, use_shared_relative_position_bias=shared,
                    use_relative_position_bias=not shared)  # fmt: skip
    torch.manual_seed(0)
    model = BeitForMaskedImageModeling(config).train()
    gradients = []
    for checkpointing in (False, True):
        model.gradient_checkpointing_enable() if checkpointing else model.gradient_checkpointing_disable()
        assert model.is_gradient_checkpointing == checkpointing
        model.zero_grad()
        torch.manual_seed(5)
        model(pixels, mask, labels=torch.zeros(2, 16, dtype=torch.long)).loss.backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() == dict(model.named_parameters()).keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)


@pytest.mark.parametrize(
    "form", [dict, lambda given: given.items(), lambda given: list(given.items()), lambda given: iter(given.items())]
)
def test_outputs_can_be_rebuilt_from_a_mapping(mim, inputs, form):
    """Or its items, as `DataParallel` does with those of its devices."""
    output = mim(*inputs, output_hidden_states=True)
    again = type(output)(form(output))
    assert again.logits is output.logits
    assert again.loss is None
    assert again.hidden_states is output.hidden_states


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model(torch.zeros(1, 3, 32, 32).double()), "dtype torch.float64, the model torch.float32"),
        (lambda model: model(torch.zeros(1, 3, 32, 32), head_mask=torch.ones(3)), r"expected \(4,\) or \(2, 4\)"),
    ],
)
def test_inputs_that_do_not_fit(mim, call, message):
    with pytest.raises(ConfigError, match=message):
        call(mim)


@pytest.mark.parametrize(
    ("labels", "options", "kind"),
    [
        (torch.tensor([1, 2]), {"num_labels": 3}, "single_label_classification"),
        (torch.rand(2, 3), {"num_labels": 3}, "multi_label_classification"),
        (torch.rand(2, 3) > 0.5, {"num_labels": 3}, "multi_label_classification"),
        (torch.rand(2), {"num_labels": 1}, "regression"),
    ],
)
def test_labels_decide_the_problem(inputs, labels, options, kind):
    model = BeitForImageClassification(BeitConfig(**TINY_MODEL, **options))
    assert torch.isfinite(model(inputs[0], labels=labels).loss)
    assert model.config.problem_type == kind


def test_labels_that_are_refused_decide_nothing(inputs):
    model = BeitForImageClassification(BeitConfig(**TINY_MODEL, num_labels=3))
    labels = torch.tensor([[0, 1, 1], [1, 0, 0]])
    with pytest.raises(ConfigError, match=r"labels have shape \(2, 3\); expected \(2,\), .* 'multi_label_classific"):
        model(inputs[0], labels=labels)
    assert model.config.problem_type is None
    loss = model(inputs[0], labels=labels.float()).loss
    model.config.problem_type = "multi_label_classification"
    assert model(inputs[0], labels=labels).loss == loss


def test_loading_a_pretrained_model_into_a_classifier_says_what_is_new(mim, inputs, tmp_path):
    torch.nn.init.normal_(mim.beit.encoder.relative_position_bias.relative_position_bias_table)
    mim.save_pretrained(tmp_path)
    model = BeitForImageClassification.from_pretrained(
        tmp_path, num_labels=5, use_mask_token=False, use_relative_position_bias=True,
        use_shared_relative_position_bias=False,
    )  # fmt: skip
    assert model.load_report.new == [
        "beit.pooler.layernorm.bias",
        "beit.pooler.layernorm.weight",
        "classifier.bias",
        "classifier.weight",
    ]
    assert "lm_head.weight" in model.load_report.unexpected
    assert "shared relative position bias was copied" in str(model.load_report)
    with torch.no_grad():
        ours = model(inputs[0], output_hidden_states=True).hidden_states
        theirs = mim(inputs[0], output_hidden_states=True).hidden_states
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_a_bare_model_takes_the_encoder_of_a_model_with_a_head(inputs):
    model = BeitModel.from_pretrained(GOLDEN / "hf_v4/classify_single")
    whole = BeitForImageClassification.from_pretrained(GOLDEN / "hf_v4/classify_single")
    assert model.load_report.unexpected == ["head:classifier.bias", "head:classifier.weight"]
    assert torch.equal(model(inputs[0]).pooler_output, whole.beit(inputs[0]).pooler_output)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("truncated", "truncated|damaged|shorter|end"),
        ("huge_header", "damaged"),
        ("no_weights", "does not hold weights"),
        ("wrong_shape", r"1 of another shape: .*layernorm|1 of another shape"),
    ],
)
def test_bad_checkpoints_are_refused(folder, message):
    with pytest.raises(CheckpointError, match=message):
        BeitForImageClassification.from_pretrained(GOLDEN / "bad" / folder)


def test_a_bad_config_is_refused():
    with pytest.raises(ConfigError, match="is not readable JSON"):
        BeitForImageClassification.from_pretrained(GOLDEN / "bad" / "not_json")


def test_sizes_of_a_model(mim):
    patch = mim.get_input_embeddings()
    assert patch is mim.beit.embeddings.patch_embeddings
    whole, embedding = mim.num_parameters(), 32 * 3 * 8 * 8 + 32
    assert whole == sum(parameter.numel() for parameter in mim.parameters())
    assert mim.num_parameters(exclude_embeddings=True) == whole  # of tables, as published; patches are projected
    patch.requires_grad_(False)
    assert mim.num_parameters(only_trainable=True) == whole - embedding
    assert mim.base_model is mim.beit
    assert mim.beit.base_model is mim.beit


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64, torch.bool])
def test_head_masks_of_any_type(inputs, dtype):
    model = BeitModel.from_pretrained(GOLDEN / "hf_v4/model_mean")
    mask = torch.tensor([1, 0, 1, 1])
    expected = model(inputs[0], head_mask=mask.float()).last_hidden_state
    assert torch.equal(model(inputs[0], head_mask=mask.to(dtype)).last_hidden_state, expected)
    assert torch.equal(model(inputs[0], head_mask=mask.float().expand(2, 4)).last_hidden_state, expected)


def test_no_masked_patch_has_no_loss(mim, inputs):
    nothing = torch.zeros(2, 16, dtype=torch.bool)
    loss = mim(inputs[0], nothing, labels=torch.zeros(0, dtype=torch.long)).loss
    assert loss == 0
    loss.backward()


SEGMENTING = {**TINY_MODEL, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "num_labels": 5}


def test_pixels_that_are_all_ignored_have_no_loss(inputs):
    model = BeitForSemanticSegmentation(BeitConfig(**SEGMENTING))
    loss = model(inputs[0], labels=torch.full((2, 32, 32), 255)).loss
    assert loss == 0
    loss.backward()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.uint16])
def test_label_maps_of_any_type_and_size(inputs, dtype):
    torch.manual_seed(0)
    model = BeitForSemanticSegmentation(BeitConfig(**SEGMENTING)).eval()
    labels = torch.randint(5, (2, 16, 24))
    labels[0, :4] = 255
    assert torch.equal(model(inputs[0], labels=labels.to(dtype)).loss, model(inputs[0], labels=labels).loss)


def test_every_activation_is_known_to_config_and_layers():
    from beit.config.checks import ACTIVATIONS
    from beit.models_torch import layers

    assert tuple(layers.ACTIVATIONS) == ACTIVATIONS
