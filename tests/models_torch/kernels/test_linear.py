"""Linear layers and GELU: PyTorch's own numbers and gradients, by the library and with the documented memory."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from beit.models_torch import kernels
from beit.models_torch.kernels import fastest, products
from beit.models_torch.kernels.choice import HAS_ONEDNN
from beit.models_torch.kernels.linear import gelu_of_product, product, product_of_gelu
from beit.models_torch.layers import Intermediate, Output, feed_forward


def plain_product_of_gelu(hidden, weight, bias):
    return functional.linear(functional.gelu(hidden), weight, bias)


CASES = {
    "gelu_linear": (product_of_gelu, plain_product_of_gelu, ((2, 5, 8), (6, 8), (6,))),
    "gelu_linear_to_fewer": (product_of_gelu, plain_product_of_gelu, ((2, 300, 192), (64, 192), (64,))),
    "gelu_linear_without_bias": (product_of_gelu, plain_product_of_gelu, ((2, 5, 8), (6, 8))),
    "linear": (product, functional.linear, ((2, 300, 128), (128, 128), (128,))),
    "linear_to_more": (product, functional.linear, ((2, 300, 64), (192, 64), (192,))),
    "linear_to_fewer": (product, functional.linear, ((2, 300, 192), (64, 192), (64,))),
    "linear_without_bias": (product, functional.linear, ((2, 300, 128), (128, 128))),
    "linear_of_a_vector": (product, functional.linear, ((2048,), (2048, 2048), (2048,))),
}


class FeedForward(nn.Module):
    """The feed-forward network of a layer."""

    def __init__(self, dim, hidden):
        super().__init__()
        self.intermediate, self.output = Intermediate(dim, hidden), Output(hidden, dim)

    def forward(self, tokens):
        return feed_forward(self.intermediate, self.output, tokens)


class Kernel(nn.Module):
    """A linear layer by the kernels."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, tokens):
        return kernels.linear(self.layer, tokens)


def drawn(shapes, dtype=torch.float32):
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=rng, dtype=dtype).requires_grad_() for shape in shapes]


@pytest.fixture(params=["torch", "onednn", "auto"])
def kernels_of(request, monkeypatch, tmp_path):
    """Every choice of the library."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(products, "FASTEST", fastest.FastestWays(request.param))


@pytest.mark.usefixtures("kernels_of")
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_the_plain_ones(name):
    ours, plain, shapes = CASES[name]
    if len(shapes) == 2 and plain is plain_product_of_gelu:
        plain = lambda hidden, weight: plain_product_of_gelu(hidden, weight, None)  # noqa: E731
    inputs = drawn(shapes)
    expected, result = plain(*inputs), ours(*inputs)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    for one, other in zip(
        torch.autograd.grad(result, inputs, grad), torch.autograd.grad(expected, inputs, grad), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_gradients_by_differences():
    """Double precision, so that differences are exact enough; the gradients of the gradients too."""
    inputs = drawn(CASES["gelu_linear"][2], torch.float64)
    assert torch.autograd.gradcheck(product_of_gelu, inputs)
    assert torch.autograd.gradgradcheck(product_of_gelu, inputs)


def test_frozen_weights_get_no_gradient():
    hidden, weight, bias = drawn(CASES["gelu_linear"][2])
    frozen = weight.detach()
    product_of_gelu(hidden, frozen, bias).sum().backward()
    expected = torch.autograd.grad(plain_product_of_gelu(hidden, frozen, bias).sum(), hidden)[0]
    torch.testing.assert_close(hidden.grad, expected)
    assert frozen.grad is None


def test_gradients_of_gradients_of_a_linear_layer():
    inputs = drawn(CASES["linear"][2])

    def second(function):
        first = torch.autograd.grad(function(*inputs).square().sum(), inputs, create_graph=True)
        return torch.autograd.grad(sum(grad.square().mean() for grad in first), inputs)

    for one, other in zip(second(product), second(functional.linear), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_only_large_plain_float32_products_go_to_onednn(monkeypatch):
    asked = []
    real = products.onednn
    ways = {"onednn": lambda *inputs: asked.append(inputs[0].shape) or real(*inputs)}
    monkeypatch.setattr(products, "_OUTPUTS", ways)
    layer = Kernel(128, 128)
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
    torch.testing.assert_close(gelu_of_product(inputs, weight, bias), expected)
    with torch.no_grad():
        torch.testing.assert_close(gelu_of_product(inputs, weight, bias), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.e2e
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
        torch.testing.assert_close(call(torch.func.vmap(lambda one: layer(one)), dynamic=None)(tokens), expected)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            call(layer)(tokens)
        call(layer.double())(tokens.double())
    call(layer.float())(tokens)
    assert used == [HAS_ONEDNN, False, False, False, False]
    with torch.no_grad():
        program = torch.export.export(layer, (tokens,))
    assert not any("beit.linear" in str(node.target) for node in program.graph.nodes)


@pytest.mark.parametrize(("width", "kept_activations"), [(512, 1), (64, 2)])
def test_wide_networks_keep_activations_once(width, kept_activations):
    """Those before GELU; narrow ones keep those after it too, and spare its second computation."""
    layer, tokens = FeedForward(width, 4 * width), torch.randn(2, 50, width, requires_grad=True)
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.setdefault(tensor.data_ptr(), tensor) is None or tensor, lambda tensor: tensor
    ):
        result = layer(tokens)
    assert len([tensor for tensor in kept.values() if tensor.numel() == 2 * 50 * 4 * width]) == kept_activations
    wanted = (tokens, *layer.parameters())
    plain = layer.output.dense(functional.gelu(layer.intermediate.dense(tokens)))
    expected = torch.autograd.grad(plain.square().sum(), wanted)
    for one, other in zip(torch.autograd.grad(result.square().sum(), wanted), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("hook", ["register_forward_hook", "register_forward_pre_hook"])
@pytest.mark.parametrize(("part", "width"), [("intermediate", 512), ("output", 1024)])
@pytest.mark.parametrize("leaf", [True, False])
@pytest.mark.parametrize("gradients", [True, False])
def test_hooks_see_what_a_layer_is_given(part, width, leaf, hook, gradients):
    layer, seen = FeedForward(512, 1024), []
    owner = getattr(layer, part)
    getattr(owner.dense if leaf else owner, hook)(lambda module, inputs, *output: seen.append(inputs[0]))
    tokens = torch.randn(2, 50, 512)
    with torch.set_grad_enabled(gradients):
        layer(tokens)
    assert len(seen) == 1
    expected = tokens if width == 512 else functional.gelu(layer.intermediate.dense(tokens))
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gradients", [True, False])
def test_a_hooked_or_other_activation_is_called(gradients):
    layer, tokens, seen = FeedForward(512, 1024), torch.randn(2, 50, 512), []
    layer.intermediate.intermediate_act_fn.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.set_grad_enabled(gradients):
        layer(tokens)
        assert len(seen) == 1
        layer.intermediate.intermediate_act_fn = nn.ReLU()
        expected = layer.output.dense(torch.relu(layer.intermediate.dense(tokens)))
        torch.testing.assert_close(layer(tokens), expected, rtol=1e-4, atol=1e-5)


def test_inputs_are_cast_once_for_layers_that_share_them():
    class Casts(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            whole = func is torch.ops.aten._to_copy.default and args[0].shape == tokens.shape
            self.count += whole and args[0].dtype == torch.float32
            return func(*args, **(kwargs or {}))

    tokens = drawn([(2, 5, 8)])[0] * 1  # autocast keeps what it casts of leaves
    layers = [nn.Linear(8, 6) for _ in range(3)]
    hooked = [nn.Linear(8, 6) for _ in range(3)]
    hooked[1].register_forward_hook(lambda *_: None)
    for one, other in zip(layers, hooked, strict=True):
        other.load_state_dict(one.state_dict())
    found = []
    for several, casts in ((layers, 1), (hooked, 3)):
        with torch.autocast("cpu", torch.bfloat16), Casts() as counted:
            found.append(torch.stack(kernels.linear_each(several, tokens)))
        assert counted.count == casts
    assert torch.equal(*found)
    assert found[0].dtype == torch.bfloat16
    assert torch.equal(
        torch.stack(kernels.linear_each(layers, tokens)), torch.stack([layer(tokens) for layer in layers])
    )
