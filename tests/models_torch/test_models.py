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

ASKED_FOR = ["output_attentions", "output_hidden_states", "return_dict", "interpolate_pos_encoding"]
SIGNATURES = {
    BeitModel: ["pixel_values", "bool_masked_pos", "head_mask", *ASKED_FOR],
    BeitForMaskedImageModeling: ["pixel_values", "bool_masked_pos", "head_mask", "labels", *ASKED_FOR],
    BeitForImageClassification: ["pixel_values", "head_mask", "labels", *ASKED_FOR],
    BeitForSemanticSegmentation: ["pixel_values", "head_mask", "labels", *ASKED_FOR],
    BeitBackbone: ["pixel_values", "output_hidden_states", "output_attentions", "return_dict", ASKED_FOR[-1]],
}


@pytest.fixture
def mim():
    torch.manual_seed(0)
    return BeitForMaskedImageModeling(preset("tiny", **TINY_MODEL, drop_path_rate=0.0)).eval()


@pytest.fixture
def inputs():
    torch.manual_seed(1)
    return torch.randn(2, 3, 32, 32), torch.rand(2, 16) < 0.4


@pytest.mark.parametrize("model", SIGNATURES, ids=lambda model: model.__name__)
def test_forward_signatures_are_the_published_ones(model):
    assert list(inspect.signature(model.forward).parameters)[1:] == SIGNATURES[model]


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
    expected = model.embeddings.mask_token + model.embeddings.position[:, 1:]
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


def test_outputs_are_objects_mappings_and_tuples(mim, inputs):
    output = mim(*inputs)
    assert output.loss is None
    assert list(output) == ["logits"]
    assert output["logits"] is output.logits is output[0]
    assert "loss" not in output
    with pytest.raises(KeyError):
        output["loss"]


def test_outputs_can_be_rebuilt_from_a_mapping(mim, inputs):
    output = mim(*inputs, output_hidden_states=True)
    again = type(output)(dict(output))
    assert again.logits is output.logits
    assert again.loss is None
    assert again.hidden_states is output.hidden_states


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda model: model(torch.zeros(1, 3, 33, 32)),
            "image height 33 is not a multiple of patch size 8; resize to 32 or 40",
        ),
        (lambda model: model(torch.zeros(1, 4, 32, 32)), r"expected \(batch, 3, height, width\)"),
        (lambda model: model(torch.zeros(1, 3, 32, 32), torch.zeros(1, 15)), "expected one value per patch"),
        (lambda model: model(torch.zeros(1, 3, 32, 32), head_mask=torch.ones(3)), r"expected \(4,\) or \(2, 4\)"),
    ],
)
def test_inputs_that_do_not_fit(mim, call, message):
    with pytest.raises(ConfigError, match=message):
        call(mim)


def test_a_mask_needs_a_mask_token(inputs):
    model = BeitModel(BeitConfig(**TINY_MODEL))
    with pytest.raises(ConfigError, match="use_mask_token=True"):
        model(*inputs)


@pytest.mark.parametrize(
    ("labels", "options", "kind"),
    [
        (torch.tensor([1, 2]), {"num_labels": 3}, "single_label_classification"),
        (torch.rand(2, 3), {"num_labels": 3}, "multi_label_classification"),
        (torch.rand(2), {"num_labels": 1}, "regression"),
    ],
)
def test_labels_decide_the_problem(inputs, labels, options, kind):
    model = BeitForImageClassification(BeitConfig(**TINY_MODEL, **options))
    assert torch.isfinite(model(inputs[0], labels=labels).loss)
    assert model.config.problem_type == kind


def test_loading_a_pretrained_model_into_a_classifier_says_what_is_new(mim, inputs, tmp_path):
    torch.nn.init.normal_(mim.beit.encoder.bias.table)
    mim.save_pretrained(tmp_path)
    model = BeitForImageClassification.from_pretrained(
        tmp_path, num_labels=5, use_mask_token=False, use_relative_position_bias=True,
        use_shared_relative_position_bias=False,
    )  # fmt: skip
    assert model.load_report.new == [
        "beit.pooler.norm.bias",
        "beit.pooler.norm.weight",
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
