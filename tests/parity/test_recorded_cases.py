"""Stage by stage against the recorded outputs of every reference implementation, at the tolerance of the recordings."""

import numpy as np
import pytest
import torch

import beit
from beit.models_torch.kernels import choice, products
from beit.models_torch.kernels.fastest import FastestWays
from beit.weights import HUGGING_FACE, HUGGING_FACE_NATIVE
from tests.parity.cases import CASES, numbered, recorded, unilm_config

WITH_GRADIENTS = [name for name in CASES if name.startswith(("hf_v4", "hf_v5"))]


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return recorded(request.param)


def assert_close(ours, reference, scale=1.0):
    np.testing.assert_allclose(ours.detach().numpy(), reference, atol=2e-5 * scale, rtol=1e-4)


@pytest.mark.parametrize("maps", [False, True], ids=["fused", "plain"])
def test_outputs(case, maps):
    """Embedding, every layer, attention maps, feature maps, pooled features, logits and loss."""
    scale = 5.0 if case.family == "hf_flax" else 1.0
    with torch.no_grad():
        output = case.model(**case.inputs, output_hidden_states=True, output_attentions=maps)
    compared = {"loss", "logits", "last_hidden_state", "pooler_output"} & case.io.keys() & output.keys()
    for name in compared:
        assert_close(output[name], case.io[name], scale)
    for name in ("hidden_states", "attentions", "feature_maps"):
        references = numbered(case.io, name)
        if name == "attentions" and not maps:
            assert "attentions" not in output
            continue
        if references:
            assert len(output[name]) == len(references)
        for ours, reference in zip(output.get(name) or (), references, strict=False):
            assert_close(ours, reference, scale)
    assert compared or "feature_maps" in output


def test_features_before_the_head(case):
    """What timm and the original code return besides: tokens, pooled features, pyramid, masked and auxiliary logits."""
    io, model = case.io, case.model
    pixels = case.inputs["pixel_values"]
    with torch.no_grad():
        if "features" in io or "pooler_output" in io:
            output = model.beit(pixels) if hasattr(model, "beit") else model(pixels)
            pooled = io["pre_logits"] if "pre_logits" in io else io["pooler_output"]
            assert_close(output.pooler_output, pooled, 5.0 if case.family == "hf_flax" else 1.0)
        if "logits_masked" in io:
            assert_close(model.masked_logits(pixels, case.inputs["bool_masked_pos"]), io["logits_masked"])
        if "pyramid_0" in io:
            hidden = model.beit(pixels, output_hidden_states=True).hidden_states
            taps = [hidden[tap][:, 1:].transpose(1, 2).unflatten(2, (4, 4)) for tap in model.taps]
            maps = [getattr(model, f"fpn{number}")(tap) for number, tap in enumerate(taps, start=1)]
            for ours, reference in zip(maps, numbered(io, "pyramid"), strict=True):
                assert_close(ours, reference)
            assert_close(model.auxiliary_head(maps[2]), io["auxiliary_logits"])


@pytest.fixture(params=["torch", "onednn", "auto"])
def library(request, monkeypatch, tmp_path):
    """What computes the products, however small they are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(products, "FASTEST", FastestWays(request.param))
    monkeypatch.setattr(choice, "LEAST_PRODUCTS", 1)
    yield request.param
    assert products.FASTEST.choices()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("name", WITH_GRADIENTS)
def test_gradients(name):
    case = recorded(name)
    output = case.model(**case.inputs)
    target, _, index = case.case["gradient_of"].partition("feature_maps_")
    value = output.feature_maps[int(index)] if index else output[target]
    loss = value if target == "loss" else (value * torch.from_numpy(case.io["cotangent"])).sum()
    loss.backward()
    layout = HUGGING_FACE_NATIVE if case.family == "hf_v5" else HUGGING_FACE
    ours = layout.from_canonical({name: p.grad for name, p in case.model.named_parameters() if p.grad is not None})
    names = [name for name in case.io if name.startswith("grad.")]
    assert len(names) >= 4
    for name in names:
        reference = case.io[name]
        atol = 2e-5 * max(1.0, float(np.abs(reference).max()))
        np.testing.assert_allclose(ours[name[5:]].numpy(), reference, atol=atol, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("name", ["hf_v4/model_mean", "hf_v4/model_cls", "hf_v4/segment"])
def test_head_mask(name):
    case = recorded(name)
    with torch.no_grad():
        output = case.model(case.inputs["pixel_values"], head_mask=torch.from_numpy(case.io["head_mask"]))
    key = next(key for key in case.io if key.startswith("head_mask."))
    assert_close(output[key.removeprefix("head_mask.")], case.io[key])


def test_another_input_size():
    case = recorded("hf_v4/model_cls")
    with torch.no_grad():
        output = case.model(torch.from_numpy(case.io["other_size.pixel_values"]))
    assert_close(output.last_hidden_state, case.io["other_size.last_hidden_state"])


def test_training_mode():
    """Batch norms by the statistics of the batch, and the auxiliary loss."""
    case = recorded("hf_v4/segment")
    case.model.train()
    output = case.model(**case.inputs)
    assert_close(output.loss, case.io["train.loss"], 10)
    assert_close(output.logits, case.io["train.logits"], 10)


def test_tuple_output(case):
    with torch.no_grad():
        as_object = case.model(**case.inputs)
        as_tuple = case.model(**case.inputs, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert len(as_tuple) == len(as_object)
    for one, other in zip(as_object.to_tuple(), as_tuple, strict=True):
        pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
        assert all(torch.equal(first, second) for first, second in pairs)


def test_resized_tables_are_those_of_the_reference(case):
    """The authors' cubic method, timm's linear one, and bicubic positions, number by number."""
    layout = beit.weights.ORIGINAL_CLASSIFICATION
    names = [name for name in case.io if name.startswith("resized.")]
    if not names:
        assert not case.model.load_report.resized
        return
    ours = layout.from_canonical(case.model.state_dict())
    for name in names:
        np.testing.assert_allclose(ours[name.removeprefix("resized.")].numpy(), case.io[name], atol=2e-6, rtol=1e-5)
    assert len(case.model.load_report.resized) == len(names)


def test_the_original_layers_and_the_published_ones_are_both_expressible():
    """The same numbers name other layers in the original code than in transformers; each meaning gives its result."""
    original = recorded("unilm/segment")
    config = unilm_config(original.case)
    config.out_indices_meaning = "huggingface"
    with torch.no_grad():
        model = beit.BeitForSemanticSegmentation.from_pretrained(original.folder / "checkpoint.pth", config=config)
        assert_close(model(original.inputs["pixel_values"]).logits, original.io["logits_hf_v4_same_out_indices"])
        assert_close(original.model(original.inputs["pixel_values"]).logits, original.io["logits"])
