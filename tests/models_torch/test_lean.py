"""The passes that keep less give the gradients of the plain formulation, and stand aside where they must."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from beit.models_torch import lean, linear
from beit.models_torch.attention import Attention
from beit.models_torch.layers import FeedForward
from beit.models_torch.linear import Linear

SHAPE = (3, 7, 3, 2, 4)  # pictures, tokens, queries keys and values, heads, width


def plain_attention(qkv, bias):
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + bias
    return (scores.softmax(-1) @ value).transpose(1, 2)


def plain_gelu_linear(hidden, weight, bias):
    return functional.linear(functional.gelu(hidden), weight, bias)


CASES = {
    "attention": (lean.biased_attention, plain_attention, (SHAPE, (1, 2, 7, 7))),
    "gelu_linear": (lean.gelu_linear, plain_gelu_linear, ((2, 5, 8), (6, 8), (6,))),
    "linear": (linear.linear, functional.linear, ((2, 300, 128), (128, 128), (128,))),
    "linear_to_more": (linear.linear, functional.linear, ((2, 300, 64), (192, 64), (192,))),
    "linear_to_fewer": (linear.linear, functional.linear, ((2, 300, 192), (64, 192), (64,))),
    "gelu_linear_to_fewer": (lean.gelu_linear, plain_gelu_linear, ((2, 300, 192), (64, 192), (64,))),
    "linear_without_bias": (linear.linear, functional.linear, ((2, 300, 128), (128, 128))),
    "linear_of_a_vector": (linear.linear, functional.linear, ((2048,), (2048, 2048), (2048,))),
}


def drawn(shapes, dtype=torch.float32):
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=rng, dtype=dtype).requires_grad_() for shape in shapes]


def assert_like_plain(name):
    ours, plain, shapes = CASES[name]
    inputs = drawn(shapes)
    expected, result = plain(*inputs), ours(*inputs)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
    slope = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    for one, other in zip(
        torch.autograd.grad(result, inputs, slope), torch.autograd.grad(expected, inputs, slope), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_the_plain_ones(name):
    assert_like_plain(name)


@pytest.mark.parametrize("name", ["attention", "gelu_linear"])
def test_gradients_by_differences(name):
    """Double precision, so that differences are exact enough; the gradients of the gradients too."""
    ours, _, shapes = CASES[name]
    inputs = drawn(shapes, torch.float64)
    assert torch.autograd.gradcheck(ours, inputs)
    assert torch.autograd.gradgradcheck(ours, inputs)


@pytest.mark.parametrize("pictures_at_once", [1, 2, 3])
def test_how_many_pictures_at_a_time_does_not_matter(monkeypatch, pictures_at_once):
    monkeypatch.setattr(lean, "_SCORES_AT_ONCE", pictures_at_once * 2 * 7 * 7)
    assert_like_plain("attention")


def test_gradients_of_gradients_of_a_linear_layer():
    inputs = drawn(CASES["linear"][2])

    def second(function):
        first = torch.autograd.grad(function(*inputs).square().sum(), inputs, create_graph=True)
        return torch.autograd.grad(sum(slope.square().mean() for slope in first), inputs)

    for one, other in zip(second(linear.linear), second(functional.linear), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_only_large_plain_float32_products_go_to_onednn(monkeypatch):
    asked = []
    real = linear._product
    monkeypatch.setattr(linear, "_product", lambda *inputs: asked.append(inputs[0].shape) or real(*inputs))
    layer = Linear(128, 128)
    large, small = torch.randn(300, 128), torch.randn(3, 128)
    layer(small)
    layer.double()(large.double())
    layer.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(large).dtype == torch.bfloat16
    torch.func.vmap(layer)(large.unsqueeze(0))
    torch.func.grad(lambda pixels: layer(pixels).sum())(large)
    torch.jit.trace(layer, large, check_trace=False)
    torch.export.export(layer, (large,))
    assert asked == []
    layer(large)
    assert asked == [large.shape]


@pytest.mark.parametrize("biased", [True, False])
def test_gelu_of_a_linear_layer_in_one_pass(biased):
    inputs, weight, bias = drawn(((2, 300, 128), (256, 128), (256,)))
    bias = bias if biased else None
    expected = functional.gelu(functional.linear(inputs, weight, bias))
    torch.testing.assert_close(linear.gelu_of_linear(inputs, weight, bias), expected)
    with torch.no_grad():
        torch.testing.assert_close(linear.gelu_of_linear(inputs, weight, bias), expected, rtol=1e-4, atol=1e-4)


def test_compiled_products_are_those_of_onednn_where_nothing_is_learned():
    """In any number of tokens, and by PyTorch's own operations in programs that are exported, mapped or learn."""
    used = []

    def record(graph, _):
        used.append(any("beit.linear" in str(node.target) for node in graph.graph.nodes))
        return graph

    layer, tokens = FeedForward(512, 1024).eval(), torch.randn(2, 50, 512)
    call = lambda run, dynamic=True: torch.compile(run, fullgraph=True, dynamic=dynamic, backend=record)  # noqa: E731
    expected = layer(tokens)
    with torch.no_grad():
        torch.testing.assert_close(call(layer)(tokens), expected)
        torch.testing.assert_close(call(torch.func.vmap(layer), dynamic=None)(tokens), expected)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            call(layer)(tokens)
        call(layer.double())(tokens.double())
    call(layer.float())(tokens)
    assert used == [linear._HAS_ONEDNN, False, False, False, False]
    with torch.no_grad():
        program = torch.export.export(layer, (tokens,))
    assert not any("beit.linear" in str(node.target) for node in program.graph.nodes)


@pytest.mark.parametrize("hook", ["register_forward_hook", "register_forward_pre_hook"])
@pytest.mark.parametrize("part", ["expand", "contract"])
def test_hooks_are_called_without_gradients_too(part, hook):
    layer, seen = FeedForward(512, 1024), []
    getattr(getattr(layer, part), hook)(lambda module, inputs, *output: seen.append(inputs[0].shape[-1]))
    with torch.no_grad():
        layer(torch.randn(2, 50, 512))
    assert seen == [512 if part == "expand" else 1024]


def test_activations_before_and_after_gelu_are_not_both_kept():
    layer, tokens = FeedForward(64, 256), torch.randn(2, 50, 64, requires_grad=True)
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.setdefault(tensor.data_ptr(), tensor) is None or tensor, lambda tensor: tensor
    ):
        layer(tokens)
    wide = [tensor for tensor in kept.values() if tensor.numel() == 2 * 50 * 256]
    assert len(wide) == 1


def test_scores_are_not_kept():
    from beit.geometry import Grid
    from beit.models_torch.relative_position import Positions, position_index

    grid = Grid(6, 6)
    attention = Attention(32, 4, grid)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda x: x):
        attention(torch.randn(5, 37, 32), Positions(grid, position_index(grid)))
    assert max(kept) < 5 * 4 * 37 * 37


@pytest.mark.parametrize("hook", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_see_what_the_layer_is_given(hook):
    layer, seen = FeedForward(8, 16), []
    getattr(layer.contract, hook)(lambda module, inputs, *output: seen.append(inputs[0]))
    tokens = torch.randn(2, 3, 8)
    layer(tokens)
    torch.testing.assert_close(seen[0], functional.gelu(layer.expand(tokens)))


def test_an_adapter_in_the_place_of_a_layer_is_called():
    class Adapter(nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base = base

        def forward(self, inputs):
            return self.base(inputs) + 1

    layer, tokens = FeedForward(8, 16), torch.randn(2, 3, 8)
    before = layer(tokens)
    layer.contract = Adapter(layer.contract)
    torch.testing.assert_close(layer(tokens), before + 1)


def test_the_forward_pass_is_the_fused_kernel():
    qkv, bias = drawn(CASES["attention"][2])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        lean.biased_attention(qkv, bias)
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in {event.name for event in profile.events()}
