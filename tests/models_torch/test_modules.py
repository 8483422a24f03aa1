"""Hooks, adapters, pruning, quantisation, offloading and meta tensors work on the modules of every model."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.utils.flop_counter import FlopCounterMode

from beit.models_torch import BeitForMaskedImageModeling
from beit.models_torch.masked_patch_decoder import MaskedPatchDecoder
from beit.models_torch.patch_aggregation import PatchAggregation
from tests.models_torch.test_names import MODELS, made

QUERY, VALUE = "attention.attention.query", "attention.attention.value"
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def pixels(dtype=torch.float32):
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(dtype)


def run(model, **options):
    """Run everything of a model: its heads of training too."""
    if model.__class__.__name__ == "BeitForMaskedImageModeling":
        options["bool_masked_pos"] = torch.arange(32).view(2, 16) % 3 == 0
    if model.__class__.__name__ == "BeitForSemanticSegmentation":
        options["labels"] = torch.zeros(2, 32, 32, dtype=torch.long)
    dtype = next(model.parameters()).dtype
    torch.manual_seed(0)  # of drop path
    output = model(pixels(dtype), **options)
    first = output.feature_maps if "feature_maps" in output else output[0 if "loss" not in output else "logits"]
    return torch.cat([part.flatten() for part in first]) if isinstance(first, tuple) else first


def assert_close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def layers_of(model):
    return model.base_model.encoder.layer


@pytest.fixture
def model():
    torch.manual_seed(0)
    made_model = made("classify").eval()
    for parameter in made_model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return made_model


@pytest.mark.parametrize("way", ["gradients", "none", "maps"])
@pytest.mark.parametrize("dtype", PRECISIONS.values(), ids=PRECISIONS)
@pytest.mark.parametrize("name", MODELS)
def test_every_module_with_parameters_is_called(name, dtype, way):
    torch.manual_seed(0)
    model = made(name).to(dtype).train()
    fired, options = set(), {"output_attentions": True} if way == "maps" else {}
    with torch.set_grad_enabled(way != "none"):
        before = run(copy.deepcopy(model), **options)
        for module_name, module in model.named_modules():
            module.register_forward_hook(lambda *_, name=module_name: fired.add(name))
        after = run(model, **options)
    holding = {name for name, module in model.named_modules() if list(module.parameters(recurse=False))}
    assert holding - fired == set()
    tolerance = 1e-4 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(after, before, rtol=tolerance, atol=tolerance)


def test_every_module_of_patch_aggregation_is_called():
    model, fired = made("mim"), set()
    head = PatchAggregation(model, early_layer=2)
    both = nn.ModuleList((model, head))
    for name, module in both.named_modules():
        module.register_forward_hook(lambda *_, name=name: fired.add(name))
    head(model, pixels(), torch.arange(32).view(2, 16) % 3 == 0)
    assert {name for name, part in both.named_modules() if list(part.parameters(recurse=False))} <= fired


def test_every_module_with_a_decoder_of_masked_patches_is_called():
    config = made("mim").config
    config.use_shared_relative_position_bias, config.use_absolute_position_embeddings = False, True
    model, fired = BeitForMaskedImageModeling(config), set()
    decoder = MaskedPatchDecoder(model)
    both = nn.ModuleList((model, decoder))
    for name, module in both.named_modules():
        module.register_forward_hook(lambda *_, name=name: fired.add(name))
    decoder(model, pixels(), torch.arange(32).view(2, 16) % 4 == 0)
    assert {name for name, part in both.named_modules() if list(part.parameters(recurse=False))} <= fired


@pytest.mark.parametrize("kind", ["backward", "backward_pre", "everywhere"])
def test_other_hooks(model, kind):
    fired = []
    dense = layers_of(model)[1].intermediate.dense
    if kind == "everywhere":
        handle = nn.modules.module.register_module_forward_hook(lambda module, *_: fired.append(module))
    elif kind == "backward":
        handle = dense.register_full_backward_hook(lambda module, *_: fired.append(module))
    else:
        handle = dense.register_full_backward_pre_hook(lambda module, *_: fired.append(module))
    run(model).sum().backward()
    handle.remove()
    assert any(module is dense for module in fired)


class LowRank(nn.Module):
    """An adapter as peft puts it in the place of a layer."""

    def __init__(self, base, rank=2):
        super().__init__()
        self.base_layer = base.requires_grad_(requires_grad=False)
        self.lora_a = nn.Linear(base.in_features, rank, bias=False)
        self.lora_b = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.lora_b.weight)

    def forward(self, tokens):
        return self.base_layer(tokens) + self.lora_b(self.lora_a(tokens))


def test_adapters_in_the_place_of_queries_and_values_learn(model):
    before = run(model).detach()
    model.requires_grad_(requires_grad=False)
    adapters = []
    for layer in layers_of(model):
        for name in (QUERY, VALUE):
            adapters.append(LowRank(layer.get_submodule(name)))
            layer.set_submodule(name, adapters[-1])
    assert_close(run(model), before)
    run(model).square().sum().backward()
    assert all(adapter.lora_b.weight.grad.abs().sum() > 0 for adapter in adapters)
    assert all(adapter.base_layer.weight.grad is None for adapter in adapters)


@pytest.mark.parametrize(
    "name", ["intermediate.dense", "output.dense", "intermediate", "output", "layernorm_before", "attention"]
)
def test_any_part_of_a_layer_may_be_wrapped(model, name):
    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.calls = inner, 0

        def forward(self, *inputs):
            self.calls += 1
            return self.inner(*inputs)

    before = run(model)
    wrapper = Wrapper(layers_of(model)[0].get_submodule(name))
    layers_of(model)[0].set_submodule(name, wrapper)
    assert_close(run(model), before)
    with torch.no_grad():
        assert_close(run(model), before)
    assert wrapper.calls == 2


def test_the_patch_projection_and_the_classifier_may_be_wrapped(model):
    before = run(model)
    patches = model.beit.embeddings.patch_embeddings
    patches.projection = nn.Sequential(patches.projection)
    model.classifier = nn.Sequential(model.classifier)
    assert_close(run(model), before)


def test_pruning_again_and_again(model):
    linears = [part for part in model.modules() if type(part) is nn.Linear]
    tables = [part for part in model.modules() if hasattr(part, "relative_position_bias_table")]
    for _ in range(2):
        for part in linears:
            prune.l1_unstructured(part, "weight", amount=0.3)
        for part in tables:
            prune.l1_unstructured(part, "relative_position_bias_table", amount=0.3)
        run(model).sum().backward()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        optimiser.step()
    pruned = run(model)
    assert all((part.weight == 0).float().mean() > 0.4 for part in linears)
    for part in linears:
        prune.remove(part, "weight")
    for part in tables:
        prune.remove(part, "relative_position_bias_table")
    assert_close(run(model), pruned)


class Doubled(nn.Module):
    """A parametrisation."""

    def forward(self, weight):
        return 2 * weight


@pytest.mark.parametrize("training", [True, False])
def test_parametrised_weights_are_those_that_count(model, training):
    by_hand = copy.deepcopy(model)
    for name, part in list(model.named_modules()):
        for parameter in [parameter for parameter, _ in part.named_parameters(recurse=False)]:
            parametrize.register_parametrization(part, parameter, Doubled())
            by_hand.get_submodule(name).get_parameter(parameter).data.mul_(2)
    with torch.set_grad_enabled(training):
        assert_close(run(model.train(training)), run(by_hand.train(training)))


def test_linear_layers_are_found_by_their_type(model):
    """Dynamic quantisation and its like look for `nn.Linear` itself, and change what they find."""
    assert all(type(part) is nn.Linear for part in model.modules() if isinstance(part, nn.Linear))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert not [part for part in quantised.modules() if type(part) is nn.Linear]
    with torch.no_grad():
        expected, found = run(model), run(quantised)
    assert not torch.equal(expected, found)
    torch.testing.assert_close(found, expected, rtol=0.2, atol=0.2)


def test_weights_that_come_for_the_time_of_a_call(model):
    """As offloading does: the forward function of every module is another, which fetches the weights and drops them."""
    expected = run(model).detach()
    for part in model.modules():
        values = {name: value.detach().clone() for name, value in part.named_parameters(recurse=False)}
        plain = part.forward

        def fetched(*inputs, part=part, values=values, plain=plain, **options):
            for name, value in values.items():
                setattr(part, name, nn.Parameter(value))
            result = plain(*inputs, **options)
            for name, value in values.items():
                setattr(part, name, nn.Parameter(value.to("meta")))
            return result

        part.forward = fetched
        for name, value in values.items():
            setattr(part, name, nn.Parameter(value.to("meta")))
    with torch.no_grad():
        assert_close(run(model), expected)


def test_the_attribution_of_a_class_to_patches(model):
    """Grad-CAM as it is written for transformers, on the norm before the attention of the last layer."""
    kept = {}
    norm = layers_of(model)[-1].layernorm_before
    norm.register_forward_hook(lambda module, inputs, output: kept.update(activations=output))
    norm.register_full_backward_hook(lambda module, of_inputs, of_outputs: kept.update(gradients=of_outputs[0]))
    run(model)[:, 1].sum().backward()
    weights = kept["gradients"][:, 1:].mean(dim=1, keepdim=True)
    cam = (weights * kept["activations"][:, 1:]).sum(-1).relu()
    assert cam.shape == (2, 16)
    assert cam.abs().sum() > 0


@pytest.mark.parametrize("dtype", PRECISIONS.values(), ids=PRECISIONS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.e2e
def test_shapes_without_values(name, dtype):
    """On the device "meta", with gradients and without, in both modes."""
    real = made(name)
    expected = real(pixels()).to_tuple()[0]
    with torch.device("meta"):
        model = made(name).to(dtype)
        inputs = torch.empty(2, 3, 32, 32, dtype=dtype)
    for training in (True, False):
        with torch.set_grad_enabled(training):
            found = model.train(training)(inputs).to_tuple()[0]
        for one, other in zip(
            *(part if isinstance(part, tuple) else (part,) for part in (found, expected)), strict=True
        ):
            assert one.is_meta
            assert one.shape == other.shape


def test_operations_are_counted_alike_with_and_without_values(model):
    counts = {}
    for device in ("cpu", "meta"):
        placed = copy.deepcopy(model).to(device)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            placed(pixels().to(device))
        counts[device] = counter.get_total_flops()
    config = model.config
    tokens, width = 17, config.hidden_size
    products = 4 * width**2 + 2 * width * config.intermediate_size
    layer = 2 * (tokens * products + 2 * tokens**2 * width)
    expected = config.num_hidden_layers * layer + 2 * 16 * 3 * 8 * 8 * width + 2 * width * config.num_labels
    assert counts["meta"] == 2 * expected
    # torch does not count its fused attention on a CPU, two products of all pairs of tokens
    assert counts["cpu"] == 2 * (expected - config.num_hidden_layers * 4 * tokens**2 * width)
