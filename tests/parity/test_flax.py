"""The Flax models against the recorded outputs of the published ones, and against ours in PyTorch."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
import torch

import beit
from beit.models_flax.labels import mean_cross_entropy
from beit.models_flax.tree import joined
from beit.weights import FLAX
from tests.conftest import GOLDEN
from tests.parity.cases import numbered

PUBLISHED = sorted(folder.name for folder in (GOLDEN / "hf_flax").iterdir())
SHARED = sorted(folder.name for folder in (GOLDEN / "hf_v4").iterdir())
EVERYTHING = {"output_hidden_states": True, "output_attentions": True}
LISTS = ("hidden_states", "attentions", "feature_maps")
SINGLE = ("loss", "logits", "last_hidden_state", "pooler_output")


def assert_close(ours, reference, atol, name=""):
    reference = np.asarray(reference)
    scale = max(1.0, float(np.abs(reference).max()))
    np.testing.assert_allclose(np.asarray(ours), reference, atol=atol * scale, rtol=1e-4, err_msg=name)


def opened(family, name):
    folder = GOLDEN / family / name
    case = json.loads((folder / "case.json").read_text())
    kind = getattr(beit, "Flax" + case["class"].removeprefix("Flax"))
    io = dict(np.load(folder / "io.npz"))
    # the many layers of this one as a scan, which is another way to the same numbers
    model = kind.from_pretrained(folder, scan_layers=name == "segment")
    wanted = [key for key in case["inputs"] if key != "labels" or kind is beit.FlaxBeitForSemanticSegmentation]
    inputs = {key: io[key] for key in wanted}
    return SimpleNamespace(name=name, folder=folder, case=case, io=io, model=model, inputs=inputs)


def target(case, output):
    """What the recorded gradients are of."""
    wanted, io = case.case["gradient_of"], case.io
    if wanted != "loss":
        value = output.feature_maps[int(wanted[-1])] if wanted.startswith("feature") else output[wanted]
        cotangent = torch.from_numpy(io["cotangent"]) if isinstance(value, torch.Tensor) else io["cotangent"]
        return (value * cotangent).sum()
    if "loss" in output:
        return output.loss
    labels, logits = io["labels"], output.logits
    if "bool_masked_pos" in io:
        return mean_cross_entropy(logits[io["bool_masked_pos"]], labels)
    if logits.shape[-1] == 1:
        return optax.losses.squared_error(logits[:, 0], labels).mean()
    if labels.dtype.kind == "f":
        return optax.losses.sigmoid_binary_cross_entropy(logits, labels).mean()
    return mean_cross_entropy(logits, labels)


def fused(case):
    """One compiled program of the model as it trains: (target, output), gradients by name."""

    @jax.jit
    def run(params):
        def value(params):
            output = case.model(**case.inputs, params=params)
            return target(case, output), output

        return jax.value_and_grad(value, has_aux=True)(params)

    (value, output), gradients = run(case.model.params)
    return value, output, joined(gradients)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_flax_models(name):
    """Outputs, every layer, attention maps, and gradients, by the plain and by the fused attention."""
    case = opened("hf_flax", name)
    output = case.model(**case.inputs, **EVERYTHING)
    value, quick, gradients = fused(case)
    compared = [key for key in SINGLE if key in case.io]
    for key in compared:
        assert_close(output[key], case.io[key], 1e-4, key)
        assert_close(quick[key], case.io[key], 1e-4, key)
    assert compared
    for key in ("hidden_states", "attentions"):
        references = numbered(case.io, key)
        assert len(output[key]) == len(references) == len(output.hidden_states) - (key == "attentions")
        for ours, reference in zip(output[key], references, strict=True):
            assert_close(ours, reference, 1e-4, key)
    recorded = [key for key in case.io if key.startswith("grad.")]
    assert len(recorded) >= 4
    for key in recorded:
        assert_close(gradients[key.removeprefix("grad.")], case.io[key], 1e-4, key)
    assert np.isfinite(value)


@pytest.mark.parametrize("name", SHARED)
def test_ours_in_both_frameworks(name):
    """Every output, and the gradient of every parameter."""
    case = opened("hf_v4", name)
    theirs = getattr(beit, case.case["class"]).from_pretrained(case.folder)
    given = {key: torch.from_numpy(case.io[key]) for key in case.case["inputs"]}
    reference = theirs(**given, **EVERYTHING)
    output = case.model(**case.inputs, **EVERYTHING)
    value, quick, gradients = fused(case)
    shared = set(reference) & set(output)
    assert shared == set(reference) - ({"loss"} if "loss" not in output else set())
    for key in shared & set(SINGLE):
        assert_close(output[key], reference[key].detach(), 2e-5, key)
        assert_close(quick[key], reference[key].detach(), 2e-5, f"fused {key}")
    for key in shared & set(LISTS):
        for ours, other in zip(output[key], reference[key], strict=True):
            assert_close(ours, other.detach(), 2e-5, key)
    loss = reference.get("loss")
    loss = target(case, reference) if loss is None else loss
    assert_close(value, loss.detach(), 2e-5)
    loss.backward()
    canonical = FLAX.to_canonical({key: np.asarray(gradient) for key, gradient in gradients.items()})
    for key, parameter in theirs.named_parameters():
        other = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert_close(canonical[key], other, 2e-5, key)
    for key in canonical.keys() - dict(theirs.named_parameters()).keys():
        assert not canonical[key].any(), f"{key} is a running statistic"


def test_another_input_size():
    case = opened("hf_v4", "model_cls")
    output = case.model(case.io["other_size.pixel_values"])
    assert_close(output.last_hidden_state, case.io["other_size.last_hidden_state"], 2e-5)


@pytest.mark.parametrize("name", ["model_mean", "mim"], ids=["own bias", "shared bias"])
def test_another_input_size_resamples_the_bias_as_in_torch(name):
    case = opened("hf_v4", name)
    theirs = getattr(beit, case.case["class"]).from_pretrained(case.folder)
    pixels = np.random.default_rng(0).normal(size=(1, 3, 24, 48)).astype(np.float32)
    with torch.no_grad():
        reference = theirs(torch.from_numpy(pixels))[0]
    assert_close(case.model(pixels)[0], reference, 2e-5)
