"""Double backward for kernels with a backward pass of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def plain_gradients(
    plain: Callable[..., Tensor], inputs: Sequence[Tensor | None], needed: Sequence[bool], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """Return the gradients of a plain formulation, which have gradients themselves.

    Args:
        plain: The formulation, in PyTorch's operations.
        inputs: Its arguments.
        needed: Which of them need a gradient.
        grad: The gradient of its result.
    """
    wanted = [tensor for tensor, need in zip(inputs, needed, strict=True) if need and tensor is not None]
    found = iter(torch.autograd.grad(plain(*inputs), wanted, grad, create_graph=True))
    return tuple(next(found) if need else None for need in needed)
