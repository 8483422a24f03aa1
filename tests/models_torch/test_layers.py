"""Residual branches: in one pass, and by the module that drops them where something waits for its call."""

import pytest
import torch

from beit.models_torch.layers import DropPath, with_branch

DTYPES = {"float32": (torch.float32,) * 3, "bfloat16": (torch.bfloat16,) * 3,
          "autocast": (torch.float32, torch.bfloat16, torch.float32)}  # fmt: skip


def operands(tokens, branch, factor):
    rng = torch.Generator().manual_seed(0)
    shapes = ((6, 5, 8), (6, 5, 8), (8,))
    return [
        torch.randn(shape, generator=rng).to(dtype).requires_grad_()
        for shape, dtype in zip(shapes, (tokens, branch, factor), strict=True)
    ]


@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("dtypes", DTYPES.values(), ids=DTYPES)
def test_one_pass_has_the_numbers_and_gradients_of_the_formula(dtypes, rate):
    drop_path, results, called = DropPath(rate), [], []
    for hooked in (False, True):
        if hooked:  # which has the formula computed step by step
            drop_path.register_forward_hook(lambda module, inputs, output: called.append(output))
        inputs = operands(*dtypes)
        torch.manual_seed(1)
        output = with_branch(*inputs, drop_path)
        assert output.dtype == dtypes[0]
        results.append([output, *torch.autograd.grad(output.float().square().sum(), inputs)])
    assert len(called) == 1
    tolerance = 1e-6 if dtypes[0] == dtypes[1] == torch.float32 else 2e-2
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_kept_branches_are_scaled_exactly_under_autocast():
    """A factor of 1 / 0.9 in bfloat16 would be 0.2 % too small."""
    tokens, branch, factor = operands(*DTYPES["autocast"])
    dropped = DropPath(0.1).factors(branch, factor.dtype)
    assert set(dropped.flatten().tolist()) <= {0.0, float(torch.tensor(1 / 0.9))}
    assert with_branch(tokens, branch, None, DropPath(0.0)).dtype == torch.float32
