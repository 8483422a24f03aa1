"""The three products of a linear layer: the same numbers by every library, in every shape."""

import pytest
import torch

from beit.models_torch.kernels import choice, fastest, products

SHAPES = {"wider": (512, 128, 256), "narrower": (512, 256, 128), "square": (512, 128, 128)}  # tokens, inputs, outputs


@pytest.fixture(params=["torch", "onednn", "auto"])
def ways(request, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(products, "FASTEST", fastest.FastestWays(request.param))
    return products.FASTEST


@pytest.mark.parametrize("shape", SHAPES)
def test_every_library_computes_the_same(ways, shape):
    tokens, inputs, outputs = SHAPES[shape]
    rng = torch.Generator().manual_seed(0)
    x, weight, bias, grad = (
        torch.randn(size, generator=rng)
        for size in ((tokens, inputs), (outputs, inputs), (outputs,), (tokens, outputs))
    )
    with torch.no_grad():
        found = {
            "linear": (products.outputs(x, weight, bias), x @ weight.T + bias),
            "gelu": (products.outputs(x, weight, bias, gelu=True), torch.nn.functional.gelu(x @ weight.T + bias)),
            "inputs": (products.input_gradient(grad, weight), grad @ weight),
            "weights": (products.weight_gradient(grad, x), grad.T @ x),
        }
    for ours, expected in found.values():
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    assert len(ways.choices()) == 4


@pytest.mark.skipif(not choice.HAS_ONEDNN, reason="PyTorch was built without oneDNN")
def test_the_mode_names_the_library(ways):
    with torch.no_grad():
        products.outputs(torch.ones(512, 128), torch.ones(128, 128), None)
    (chosen,) = ways.choices().values()
    assert chosen == ways.mode or ways.mode == "auto"


def test_gradients_of_small_and_double_products_are_not_timed(ways):
    with torch.no_grad():
        products.input_gradient(torch.ones(2, 3), torch.ones(3, 4))
        products.weight_gradient(torch.ones(512, 256).double(), torch.ones(512, 256).double())
    assert ways.choices() == {}


@pytest.mark.parametrize("gelu", [False, True])
def test_a_product_with_a_bias_is_timed_with_one(monkeypatch, gelu):
    """Without it MKL, which needs a pass for the bias, seemed as fast as oneDNN and was a tenth slower."""
    timed = {}

    class Asked(fastest.FastestWays):
        def way(self, name, ways, operands):
            timed[name] = operands()
            return "torch"

    monkeypatch.setattr(products, "FASTEST", Asked())
    x, weight, bias = torch.ones(512, 128), torch.ones(256, 128), torch.ones(256)
    with torch.no_grad():
        products.outputs(x, weight, bias, gelu)
        products.outputs(x, weight, None, gelu)
    (with_one, without), names = timed.values(), list(timed)
    assert with_one[2].shape == bias.shape
    assert without[2] is None
    assert names[0] == f"{names[1]}, with a bias"
