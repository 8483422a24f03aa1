"""Scaled residual branch, added in one pass over the tokens.

Legend: B batch, S = 1 + N tokens, D hidden.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from beit.models_torch.kernels.choice import eager


def add_scaled(tokens_BSD: Tensor, branch_BSD: Tensor, factor: Tensor) -> Tensor:
    """Return tokens + branch * factor, (B, S, D).

    Args:
        tokens_BSD: The residual stream.
        branch_BSD: What is added, of any floating type.
        factor: Of each channel (D), or of each channel of a sample (B, 1, D).
    """
    if torch.is_grad_enabled() and eager(tokens_BSD, branch_BSD, factor):
        result: Any = _AddScaled.apply(tokens_BSD, branch_BSD, factor)
        return result
    return torch.addcmul(tokens_BSD, branch_BSD, factor)


class _AddScaled(torch.autograd.Function):
    """Autograd's own backward pass of addcmul multiplies the branch by 1, a pass more."""

    @staticmethod
    def forward(ctx: Any, tokens_BSD: Tensor, branch_BSD: Tensor, factor: Tensor) -> Tensor:
        ctx.dtype = tokens_BSD.dtype
        ctx.save_for_backward(branch_BSD, factor)
        return torch.addcmul(tokens_BSD, branch_BSD, factor)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (branch_BSD, factor), grad_BSD = ctx.saved_tensors, grads[0]
        of_tokens, of_branch, of_factor = ctx.needs_input_grad
        return (
            grad_BSD.to(ctx.dtype) if of_tokens else None,
            (grad_BSD * factor).to(branch_BSD.dtype) if of_branch else None,
            (grad_BSD * branch_BSD).sum_to_size(factor.shape).to(factor.dtype) if of_factor else None,
        )
