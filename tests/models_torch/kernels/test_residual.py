"""Scaled residual branch: the numbers and gradients of the formula, to the second order."""

import pytest
import torch

from beit.models_torch import kernels

TYPES = {"float32": ("float32",) * 3, "bfloat16": ("bfloat16",) * 3, "autocast": ("float32", "bfloat16", "float32")}


def formula(tokens, branch, factor):
    return tokens + branch * factor


def operands(factor_shape, dtypes):
    rng = torch.Generator().manual_seed(0)
    shapes = ((3, 5, 8), (3, 5, 8), factor_shape)
    drawn = (torch.randn(shape, generator=rng, dtype=torch.float64) for shape in shapes)
    return [one.to(getattr(torch, dtype)).requires_grad_() for one, dtype in zip(drawn, dtypes, strict=True)]


@pytest.mark.parametrize("shape", [(8,), (3, 1, 8)], ids=["of channels", "of samples"])
@pytest.mark.parametrize("dtypes", TYPES.values(), ids=TYPES)
def test_numbers_and_gradients(dtypes, shape):
    inputs = operands(shape, dtypes)
    found, expected = kernels.add_scaled(*inputs), formula(*inputs)
    tolerance = 1e-6 if dtypes[1] == "float32" else 2e-2
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    grads = (torch.autograd.grad(output.float().square().sum(), inputs) for output in (found, expected))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
    with torch.no_grad():
        assert torch.equal(kernels.add_scaled(*inputs), found)


@pytest.mark.parametrize("shape", [(8,), (3, 1, 8)], ids=["of channels", "of samples"])
def test_gradients_of_gradients(shape):
    inputs = operands(shape, ("float64",) * 3)
    assert torch.autograd.gradcheck(kernels.add_scaled, inputs)
    assert torch.autograd.gradgradcheck(kernels.add_scaled, inputs)


def test_transforms_of_functions():
    inputs = operands((8,), ("float64",) * 3)
    tangents = tuple(torch.ones_like(one) for one in inputs)
    for transformed in (lambda f: torch.func.jvp(f, tuple(inputs), tangents)[1], lambda f: torch.func.vmap(
        torch.func.grad(lambda *some: f(*some).sum(), argnums=1), in_dims=(0, 0, None))(*inputs)):  # fmt: skip
        torch.testing.assert_close(transformed(kernels.add_scaled), transformed(formula))
