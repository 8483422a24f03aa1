"""Methods that users of transformers, timm and DINO call on a model."""

import re
from collections import OrderedDict

import pytest
import torch

import beit
from beit.errors import ConfigError
from tests.conftest import TINY_MODEL
from tests.habits.pairs import OPTIONS, assert_close, both, made, pair, pixels, transformers


def test_numbers_about_a_model(tmp_path):
    ours, theirs = pair(tmp_path)
    batch = {"pixel_values": pixels()}
    for model in (ours, theirs):
        assert model.can_generate() is False
        assert model.get_output_embeddings() is None
    assert ours.get_memory_footprint() == theirs.get_memory_footprint() == 4 * ours.num_parameters()
    assert ours.num_labels == 3
    assert ours.estimate_tokens(batch) == pixels().numel()
    assert ours.floating_point_ops(batch) == 6 * pixels().numel() * ours.num_parameters()  # as in 4.37.2
    assert ours.get_head_mask(None, 2) == [None, None]
    assert ours.get_head_mask(torch.ones(4), 2).shape == (2, 1, 4, 1, 1)
    assert ours.framework == "pt"


@both
def test_models_are_made_and_drawn_anew(library):
    kind = library.BeitForImageClassification
    model = kind._from_config(made(library).config)
    assert type(model) is kind
    before = model.classifier.weight.clone()
    model.init_weights()
    assert library is transformers or not torch.equal(model.classifier.weight, before)
    model.tie_weights()
    model.set_attn_implementation("sdpa")


def test_models_of_a_config_by_options():
    config = made(beit).config
    model = beit.AutoModel.from_config(config, torch_dtype="bfloat16", add_pooling_layer=False)
    assert (type(model), model.dtype, model.pooler) == (beit.BeitModel, torch.bfloat16, None)
    assert beit.BeitModel._from_config(config, dtype=torch.float16).dtype == torch.float16


@pytest.mark.parametrize("name", OPTIONS)
def test_inputs_that_every_model_takes(name):
    model = made(beit, name, image_size=[32, 48], num_channels=5)
    assert model.dummy_inputs["pixel_values"].shape == (2, 5, 32, 48)
    assert torch.isfinite(model.train()(**model.dummy_inputs)[0][0]).all()


def test_memory_of_every_module():
    model = made(beit)
    model.add_memory_hooks()
    model(pixels())
    before = model.mem_rss_post_forward
    assert before >= model.beit.mem_rss_pre_forward > 0
    assert model.mem_rss_diff == before - model.mem_rss_pre_forward
    model.reset_memory_hooks_state()
    assert {module.mem_rss_diff for module in model.modules()} == {0}


def test_attention_by_another_name():
    with pytest.warns(UserWarning, match="attn_implementation is 'flash_attention_2', without effect"):
        made(beit).set_attn_implementation("flash_attention_2")


def test_gradients_reach_the_input_of_a_frozen_model():
    model = made(beit).requires_grad_(requires_grad=False).train()
    model.enable_input_require_grads()
    assert model(pixels()).logits.requires_grad
    model.disable_input_require_grads()
    assert not model(pixels()).logits.requires_grad


def test_a_backbone():
    ours, theirs = (made(library, "BeitBackbone") for library in (beit, transformers))
    assert ours.out_feature_channels == theirs.out_feature_channels
    assert ours.num_features == theirs.num_features
    assert ours.channels == theirs.channels
    given = {"output_attentions": True, "output_hidden_states": True}
    assert ours.forward_with_filtered_kwargs(pixels(), **given).keys() == theirs(pixels(), **given).keys()


def test_outputs_are_ordered_dicts(tmp_path):
    ours, theirs = (model(pixels()) for model in pair(tmp_path))
    for output in (ours, theirs):
        assert isinstance(output, OrderedDict)
        assert dict(**output).keys() == {"logits"}
        output["logits"] = torch.zeros(1)
        output.loss = torch.ones(1)
        assert output.logits is output["logits"]
        assert output.to_tuple()[0].sum() == 0
    assert ours.pop("loss").item() == 1
    assert (ours.loss, list(ours)) == (None, ["logits"])


def test_features_by_the_names_of_timm_and_dino():
    model, x = made(beit), pixels()
    output = model(x, output_hidden_states=True)
    tokens = model.forward_features(x)
    assert_close(model.forward_head(tokens), output.logits)
    assert_close(model.get_classifier()(model.forward_head(tokens, pre_logits=True)), output.logits)
    last, maps = model.forward_intermediates(x)
    assert_close(last, tokens)
    assert [part.shape for part in maps] == [(2, 32, 4, 4)] * 2
    assert_close(maps[1].flatten(2).transpose(1, 2), output.hidden_states[2][:, 1:])
    (only,) = model.forward_intermediates(x, indices=[0], output_fmt="NLC", intermediates_only=True)
    assert_close(only, output.hidden_states[1][:, 1:])
    ((patches, classes),) = model.get_intermediate_layers(x, 1, return_class_token=True, norm=True)
    assert_close(patches, model.beit.layernorm(output.hidden_states[2])[:, 1:])
    assert_close(classes, model.beit.layernorm(output.hidden_states[2])[:, 0])
    (((maps, prefix),),) = (model.forward_intermediates(x, [0], return_prefix_tokens=True, intermediates_only=True),)
    assert_close(maps.flatten(2).transpose(1, 2), output.hidden_states[1][:, 1:])
    assert_close(prefix, output.hidden_states[1][:, :1])


def test_features_of_early_layers_alone():
    model, x = made(beit, num_hidden_layers=4, use_mean_pooling=False), pixels()
    states = model(x, output_hidden_states=True).hidden_states
    tokens, maps = model.forward_intermediates(x, [0, 1], stop_early=True, output_fmt="NLC")
    assert_close(tokens, model.beit.layernorm(states[2]))
    assert_close(maps[1], states[2][:, 1:])


def test_features_of_a_backbone():
    model, x = made(beit, "BeitBackbone"), pixels()
    states = model(x, output_hidden_states=True).hidden_states
    assert_close(model.forward_features(x), states[-1])
    last, maps = model.forward_intermediates(x)
    assert_close(last, states[-1])
    assert_close(maps[0].flatten(2).transpose(1, 2), states[1][:, 1:])
    assert_close(model.forward_intermediates(x, [0], stop_early=True)[0], states[1])
    with pytest.raises(ConfigError, match=r"norm is True, and a BeitBackbone has no norm .*load the weights into"):
        model.get_intermediate_layers(x, norm=True)


@pytest.mark.parametrize("n", [0, -1, 3, [0, 2], [-3]])
def test_layers_that_are_not_there_are_refused(n):
    for call in ("get_intermediate_layers", "forward_intermediates"):
        with pytest.raises(ConfigError, match=r"asked for; expected [01] to [12]"):
            getattr(made(beit), call)(pixels(), n)


def test_a_format_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="output_fmt is 'nchw'; expected 'NCHW' or 'NLC'"):
        made(beit).forward_intermediates(pixels(), output_fmt="nchw")


def test_classifiers_are_changed():
    model = made(beit)
    model.reset_classifier(7)
    assert model(pixels()).logits.shape == (2, 7)
    assert model.config.num_labels == 7
    model.reset_classifier(0)
    assert model(pixels()).logits.shape == (2, 32)


@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3)])
def test_between_one_number_and_classes_the_problem_is_open_again(before, after):
    labels = {1: torch.tensor([0.5, 0.2]), 3: torch.tensor([0, 1])}
    model = made(beit, num_labels=before)
    model(pixels(), labels=labels[before])
    model.reset_classifier(after)
    assert model(pixels(), labels=labels[after]).loss > 0
    assert model.config.problem_type == {1: "regression", 3: "single_label_classification"}[after]


def test_numbers_for_a_model_of_classes_are_refused_with_a_remedy(tmp_path):
    model = made(beit)
    model(pixels(), labels=torch.tensor([0, 1]))
    model.save_pretrained(tmp_path)
    other = beit.BeitForImageClassification.from_pretrained(tmp_path, num_labels=1)
    with pytest.raises(ConfigError, match=r"config.problem_type is 'single_label_.* or config.problem_type = None"):
        other(pixels(), labels=torch.tensor([0.5, 0.2]))
    other.config.problem_type = None
    assert other(pixels(), labels=torch.tensor([0.5, 0.2])).loss > 0


def test_sizes_are_changed(tmp_path):
    model = made(beit)
    model.save_pretrained(tmp_path)
    model.set_input_size(48)
    other = beit.BeitForImageClassification.from_pretrained(tmp_path, image_size=48)
    assert_close(model(pixels(side=48)).logits, other(pixels(side=48)).logits, 0)
    assert (model.config.image_size, model.training) == (48, False)


def test_all_but_the_size_stays():
    model, seen = made(beit), []
    model.beit.requires_grad_(False)
    model.gradient_checkpointing_enable(every_n_layers=2)
    model.beit.encoder.layer[0].register_forward_hook(lambda *given: seen.append(given))
    model.name_or_path = model.config.name_or_path = "me/model"
    model.train().beit.embeddings.eval()
    kept = model.beit.embeddings.patch_embeddings.projection.weight
    model.set_input_size((32, 48))
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == {
        "classifier.weight",
        "classifier.bias",
    }
    assert (model.beit.encoder.gradient_checkpointing, model.beit.encoder.checkpoint_every) == (True, 2)
    assert (model.training, model.beit.embeddings.training) == (True, False)
    assert (model.name_or_path, model.config.name_or_path) == ("me/model", "me/model")
    assert model.beit.embeddings.patch_embeddings.projection.weight is kept
    assert model.beit.embeddings.patch_embeddings.image_size == (32, 48)
    assert model.beit.config is model.config
    assert model(torch.randn(2, 3, 32, 48), interpolate_pos_encoding=False).logits.shape == (2, 3)
    assert len(seen) == 1


def test_a_grid_is_turned(tmp_path):
    """Whose tables have as many rows as before."""
    model = made(beit, image_size=(32, 64))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path)
    model.set_input_size((64, 32))
    other = beit.BeitForImageClassification.from_pretrained(tmp_path, image_size=(64, 32))
    x = torch.randn(2, 3, 64, 32)
    assert_close(model(x).logits, other(x).logits, 0)


@pytest.mark.parametrize("pools", [True, False])
@pytest.mark.parametrize(("name", "kind"), [("BeitModel", "beit"), ("Data2VecVisionModel", "data2vec-vision")])
def test_the_kind_of_a_model_stays(tmp_path, name, kind, pools):
    config = getattr(beit, name.replace("Model", "Config"))(**TINY_MODEL, use_relative_position_bias=True)
    model = getattr(beit, name)(config, add_pooling_layer=pools)
    model.set_input_size(48)
    assert (type(model.config), model.config.model_type) == (type(config), kind)
    assert (model(pixels(side=48)).pooler_output is not None) == pools
    assert any("pooler" in name for name in model.state_dict()) == pools


@pytest.mark.parametrize("name", ["BeitForImageClassification", "BeitModel", "BeitForMaskedImageModeling"])
def test_groups_of_parameters(name):
    model = made(beit, name, use_absolute_position_embeddings=True)
    names = {name for name, _ in model.named_parameters()}
    assert model.no_weight_decay() < names
    assert sum("bias_table" in name for name in model.no_weight_decay()) == 2
    groups = model.group_matcher()
    patterns = [groups["stem"], *(pattern for pattern, _ in groups["blocks"])]
    heads = {name for name in names if not any(re.match(pattern, name) for pattern in patterns)}
    assert heads <= {f"{head}.{kind}" for head in ("classifier", "lm_head") for kind in ("weight", "bias")}
    assert {re.match(model.group_matcher(coarse=True)["blocks"], name)[1] for name in names if ".layer." in name} == {
        "0",
        "1",
    }


def test_groups_of_parameters_under_another_name():
    config = beit.Data2VecVisionConfig(**TINY_MODEL, use_relative_position_bias=True)
    model = beit.Data2VecVisionForImageClassification(config)
    groups = model.group_matcher()
    patterns = [groups["stem"], *(pattern for pattern, _ in groups["blocks"])]
    names = {name for name, _ in model.named_parameters() if not any(re.match(one, name) for one in patterns)}
    assert names == {"classifier.weight", "classifier.bias"}
